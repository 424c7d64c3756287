//! `seeds DIR`: writes every target's seeds to `DIR/TARGET/`, and the targets' names to standard output.

use std::fs;
use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let dir = PathBuf::from(std::env::args().nth(1).ok_or(std::io::ErrorKind::InvalidInput)?);
    for target in abide_fuzz::TARGETS {
        let dir = dir.join(target.name);
        fs::create_dir_all(&dir)?;
        for (number, seed) in (target.seeds)().into_iter().enumerate() {
            fs::write(dir.join(format!("seed-{number}")), seed)?;
        }
        println!("{}", target.name);
    }
    Ok(())
}

//! `abide publish`

use std::path::PathBuf;

use crate::cli::Context;
use crate::cli::output;
use crate::publish::{Made, Options, how_to_sign, publish};
use abide_core::error::Result;

/// Make the files of a release that let machines fetch only what differs
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The folder with the files of the release; becomes the published folder
    folder: PathBuf,
    /// An older release to make a patch from: a version in FOLDER, a root, or a folder with one; may be repeated
    #[arg(long, value_name = "OLDER")]
    from: Vec<String>,
    /// The version to publish; by default the newest in FOLDER
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Add the release to FOLDER/feed.toml, unless it is there
    #[arg(long)]
    feed_toml: bool,
    /// When it is published, for feed.toml: YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ
    #[arg(long, value_name = "TIME", requires = "feed_toml")]
    published: Option<String>,
}

pub fn run(_: &Context, args: &Args) -> Result<()> {
    let Args { folder, from, version, feed_toml, published } = args.clone();
    let options = Options { folder, from, version, feed_toml, published };
    publish(&options, |made| output::say(told(&made, &options)))
}

fn told(made: &Made, options: &Options) -> String {
    match made {
        Made::Full { name, bytes, unpacked } => {
            format!("{name}: {}, {} unpacked", mib(*bytes), mib(*unpacked))
        }
        Made::Patch { from, name, bytes, full } => {
            let share = *bytes as f64 * 100.0 / (*full).max(1) as f64;
            format!("{name}: {}, {share:.1} % of the full file, for machines with {from}", mib(*bytes))
        }
        Made::Unlisted(disk) => {
            format!("{disk}: is published as UKI and partitions; it is not listed, and need not be uploaded")
        }
        Made::Warning(warning) => format!("warning: {warning}"),
        Made::Total { from: Some(from), bytes } => format!("a machine with {from} fetches {}", mib(*bytes)),
        Made::Total { from: None, bytes } => format!("any other machine fetches {}", mib(*bytes)),
        Made::List { changed: true } => format!("SHA256SUMS has changed; {}", how_to_sign(&options.folder)),
        Made::List { changed: false } => "SHA256SUMS is unchanged".to_owned(),
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

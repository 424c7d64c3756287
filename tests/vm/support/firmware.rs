//! EFI variables, as somebody other than Abide sets them in a running guest.

use abide_testing::utf16;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::edge::Edge;

/// The vendor of the loader's variables, and that of the firmware's own.
const LOADER: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// The loader in the ESP.
const PATH: &str = r"\EFI\systemd\systemd-bootx64.efi";

/// The number of the first boot option that is added.
const FIRST: u16 = 0x0100;

/// Sets a variable of the loader.
#[track_caller]
pub fn set_loader_variable(edge: &mut Edge, name: &str, value: &str) {
    set(edge, name, LOADER, &utf16(value));
}

/// Puts `count` boot options that lead to systemd-boot ahead of all others.
#[track_caller]
pub fn add_boot_options(edge: &mut Edge, count: u16) {
    let option = load_option(edge);
    let numbers: Vec<u16> = (FIRST..FIRST + count).collect();
    for number in &numbers {
        set(edge, &format!("Boot{number:04X}"), GLOBAL, &option);
    }
    let order = format!("/sys/firmware/efi/efivars/BootOrder-{GLOBAL}");
    let old = edge.ok(&format!("cat {order} | tail -c +5 | base64 -w 0"));
    let mut order: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    order.extend(STANDARD.decode(old.trim()).unwrap_or_else(|error| panic!("{error}: {old}")));
    set(edge, "BootOrder", GLOBAL, &order);
}

/// `EFI_LOAD_OPTION` of the UEFI specification, section 3.1.3.
fn load_option(edge: &mut Edge) -> Vec<u8> {
    let facts = edge.ok("cd /sys/class/block/vda1 && cat start size && lsblk -no PARTUUID /dev/vda1");
    let mut facts = facts.split_whitespace();
    let mut number = || facts.next().unwrap().parse::<u64>().unwrap();
    let (start, size) = (number(), number());
    // Hard drive media path: section 10.3.5.1.
    let mut drive = vec![4, 1, 42, 0];
    drive.extend(1_u32.to_le_bytes());
    drive.extend(start.to_le_bytes());
    drive.extend(size.to_le_bytes());
    drive.extend(guid(facts.next().unwrap()));
    drive.extend([2, 2]);
    let path = utf16(PATH);
    let length = u16::try_from(path.len() + 4).unwrap();
    let mut paths = drive;
    paths.extend([4, 4]);
    paths.extend(length.to_le_bytes());
    paths.extend(path);
    paths.extend([0x7f, 0xff, 4, 0]);
    let mut option = 1_u32.to_le_bytes().to_vec();
    option.extend(u16::try_from(paths.len()).unwrap().to_le_bytes());
    option.extend(utf16("Linux Boot Manager"));
    option.extend(paths);
    option
}

/// The loader's path is of the entry that failed; systemd would bless that.
#[track_caller]
pub fn nothing_is_blessed(mut edge: Edge) -> Edge {
    let path = "/sys/firmware/efi/efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
    let stale = edge.ok(&format!("tr -d '\\000' < {path}"));
    assert!(stale.contains(r"\EFI\Linux\edge_3.0+0-3.efi"), "{stale:?}");
    edge.run("systemctl start systemd-bless-boot.service boot-complete.target");
    assert_eq!(edge.entries(), ["edge_2.0.efi", "edge_3.0+0-3.efi"]);
    edge
}

#[track_caller]
fn set(edge: &mut Edge, name: &str, vendor: &str, data: &[u8]) {
    // Non-volatile, for boot services and at runtime; all in one write.
    let mut value = 7_u32.to_le_bytes().to_vec();
    value.extend(data);
    let value = STANDARD.encode(value);
    edge.ok(&format!(
        "file=/sys/firmware/efi/efivars/{name}-{vendor}; chattr -i $file 2>/dev/null; \
         echo {value} | base64 -d | dd of=$file bs=64k iflag=fullblock status=none"
    ));
}

/// The mixed-endian form of a GUID.
fn guid(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    let byte = |at: usize| u8::try_from(digits[at * 2] << 4 | digits[at * 2 + 1]).unwrap();
    [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].into_iter().map(byte).collect()
}

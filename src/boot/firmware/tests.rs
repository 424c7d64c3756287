#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use efivar::efi::VariableFlags;

use super::*;
use abide_core::root::Root;

const ESP: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const OTHER: &str = "bbbbbbbb-0000-4000-8000-000000000002";
const LOADER: &str = "\\EFI\\systemd\\systemd-bootx64.efi";

fn drive(uuid: &str) -> EFIHardDrive {
    EFIHardDrive {
        partition_number: 1,
        partition_start: 2048,
        partition_size: 4096,
        partition_sig: uuid.parse().unwrap(),
        format: 2,
        sig_type: EFIHardDriveType::Gpt,
    }
}

fn entry(uuid: &str, file: &str) -> BootEntry {
    BootEntry {
        attributes: BootEntryAttributes::LOAD_OPTION_ACTIVE,
        description: "Linux Boot Manager".into(),
        file_path_list: Some(FilePathList {
            file_path: FilePath { path: file.into() },
            hard_drive: drive(uuid),
        }),
        optional_data: vec![],
    }
}

/// An option that names only a device, as firmware makes them up itself.
fn device() -> BootEntry {
    BootEntry { file_path_list: None, description: "UEFI Misc Device".into(), ..entry(ESP, "") }
}

fn loader() -> LoaderPath {
    LoaderPath { partuuid: ESP.into(), files: vec![fold(LOADER)] }
}

fn firmware(options: &[(u16, BootEntry)]) -> BootOptions {
    BootOptions {
        order: options.iter().map(|(id, _)| *id).collect(),
        options: options.iter().map(|(id, entry)| (*id, Some(entry.clone()))).collect(),
        current: None,
    }
}

#[test]
fn only_active_options_for_this_loader_on_this_esp_count() {
    let off = BootEntry { attributes: BootEntryAttributes::empty(), ..entry(ESP, LOADER) };
    let app = BootEntry {
        attributes: BootEntryAttributes::LOAD_OPTION_ACTIVE | BootEntryAttributes::LOAD_OPTION_CATEGORY_APP,
        ..entry(ESP, LOADER)
    };
    let it = firmware(&[
        (0, app),
        (1, entry(ESP, "\\EFI\\SYSTEMD\\SYSTEMD-BOOTX64.EFI")),
        (2, entry(OTHER, LOADER)),
        (3, entry(ESP, "\\EFI\\other\\grubx64.efi")),
        (4, off),
        (5, device()),
        (6, entry(ESP, LOADER)),
    ]);
    assert_eq!(it.leading(&loader()), [1, 6]);
}

#[test]
fn the_option_that_this_boot_came_from_leads_there_and_so_do_others_like_it() {
    let shim = "\\EFI\\BOOT\\BOOTX64.EFI";
    let mut it = firmware(&[(0, device()), (1, entry(ESP, shim)), (2, entry(ESP, shim))]);
    assert!(it.leading(&loader()).is_empty());
    it.current = Some(0);
    assert_eq!(it.leading(&loader()), [0]);
    it.current = Some(1);
    assert_eq!(it.leading(&loader()), [1, 2]);
    // A boot menu's choice that is in no order leads nowhere the next time.
    it.current = Some(9);
    assert!(it.leading(&loader()).is_empty());
}

#[test]
fn an_order_that_names_one_option_twice_has_it_once() {
    let mut it = firmware(&[(1, entry(ESP, LOADER))]);
    it.order = vec![1, 1];
    assert_eq!(it.leading(&loader()), [1]);
}

#[test]
fn new_options_come_right_behind_the_current_one_and_move_nothing() {
    let mut it = firmware(&[(3, device()), (1, entry(ESP, LOADER)), (0, device())]);
    it.current = Some(1);
    let plan = it.plan(&loader(), 4, None).unwrap().unwrap();
    assert_eq!(plan.order, [3, 1, 2, 4, 5, 0]);
    let names: Vec<&str> = plan.create.iter().map(|(_, e)| e.description.as_str()).collect();
    assert_eq!(
        names,
        ["Linux Boot Manager, try 2", "Linux Boot Manager, try 3", "Linux Boot Manager, try 4"]
    );
    assert!(plan.create.iter().all(|(_, e)| e.file_path_list == it.get(1).unwrap().file_path_list));
    assert!(
        plan.create.iter().all(|(_, e)| e.optional_data.is_empty()),
        "the loader takes them for an entry's name"
    );
}

#[test]
fn where_no_option_names_the_esp_one_is_made_up_from_its_partition() {
    let mut it = firmware(&[(0, device())]);
    it.current = Some(0);
    assert!(it.plan(&loader(), 2, None).is_err());
    let plan = it.plan(&loader(), 2, Some(drive(ESP))).unwrap().unwrap();
    let list = plan.create[0].1.file_path_list.clone().unwrap();
    assert_eq!((fold(&list.file_path.path), list.hard_drive), (fold(LOADER), drive(ESP)));
}

#[test]
fn enough_options_need_nothing_and_a_plan_that_was_carried_out_is_enough() {
    let mut it = firmware(&[(1, entry(ESP, LOADER))]);
    assert_eq!(it.plan(&loader(), 1, None).unwrap(), None);
    let plan = it.plan(&loader(), 4, None).unwrap().unwrap();
    it.options.extend(plan.create.into_iter().map(|(id, e)| (id, Some(e))));
    it.order = plan.order;
    assert_eq!(it.leading(&loader()).len(), 4);
    assert_eq!(it.plan(&loader(), 4, None).unwrap(), None);
}

#[test]
fn what_an_interrupted_run_left_behind_is_used() {
    let mut it = firmware(&[(1, entry(ESP, LOADER))]);
    let plan = it.plan(&loader(), 3, None).unwrap().unwrap();
    it.options.push((plan.create[0].0, Some(plan.create[0].1.clone())));
    let again = it.plan(&loader(), 3, None).unwrap().unwrap();
    assert_eq!(again.order.len(), 3);
    assert_eq!(again.create.len(), 1);
}

/// Variables in memory that take a certain number of writes.
struct Memory {
    vars: BTreeMap<String, Vec<u8>>,
    room: usize,
}

impl VarWriter for Memory {
    fn write(&mut self, var: &Variable, _: VariableFlags, value: &[u8]) -> efivar::Result<()> {
        if self.room == 0 {
            return Err(efivar::Error::for_variable(io::Error::from_raw_os_error(libc::ENOSPC), var));
        }
        self.room -= 1;
        self.vars.insert(var.name().to_owned(), value.to_vec());
        Ok(())
    }
    fn delete(&mut self, var: &Variable) -> efivar::Result<()> {
        self.vars.remove(var.name());
        Ok(())
    }
}

#[test]
fn where_the_firmware_has_no_room_nothing_is_left_half_done() {
    let it = firmware(&[(1, entry(ESP, LOADER))]);
    let plan = it.plan(&loader(), 4, None).unwrap().unwrap();
    let before = BTreeMap::from([("BootOrder".to_owned(), vec![1, 0])]);
    for room in 0..4 {
        let mut memory = Memory { vars: before.clone(), room };
        assert!(carry_out(&mut memory, &plan).is_err(), "room for {room}");
        assert_eq!(memory.vars, before, "room for {room}");
    }
    let mut memory = Memory { vars: before, room: 4 };
    carry_out(&mut memory, &plan).unwrap();
    assert_eq!(memory.vars["BootOrder"], [1, 0, 0, 0, 2, 0, 3, 0]);
}

#[test]
fn options_are_read_from_the_variables_and_damaged_ones_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("sys/firmware/efi/efivars");
    std::fs::create_dir_all(&folder).unwrap();
    let vars = EfiVars::new(&Root::at(dir.path()));
    assert_eq!(BootOptions::read(&vars).unwrap(), None);
    let put = |name: &str, data: &[u8]| {
        let file = folder.join(format!("{name}-8be4df61-93ca-11d2-aa0d-00e098032b8c"));
        std::fs::write(file, [&[7, 0, 0, 0], data].concat()).unwrap();
    };
    let whole = entry(ESP, LOADER).to_bytes();
    put("BootOrder", &[1, 0, 0x0a, 0, 2, 0, 9]);
    put("BootCurrent", &[0x0a, 0]);
    put("Boot0001", &whole);
    put("Boot000A", &whole);
    put("BootNext", &[1, 0]);
    put("Boot000b", &whole);
    for (number, cut) in (2..).zip([0, 3, 7, 20, whole.len() - 5, whole.len() - 1]) {
        put(&format!("Boot000{number}"), &whole[..cut]);
    }
    let it = BootOptions::read(&vars).unwrap().unwrap();
    assert_eq!((it.order.as_slice(), it.current), ([1, 10, 2].as_slice(), Some(10)));
    assert_eq!(it.leading(&loader()), [1, 10]);
}

#[test]
fn no_byte_of_an_option_that_is_damaged_brings_the_reader_down() {
    let whole = entry(ESP, LOADER).to_bytes();
    for at in 0..whole.len() {
        for value in [0, 1, 3, 0x7f, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            if is_well_formed(&bytes) {
                // An error is fine; a panic is not.
                drop(BootEntry::parse(bytes));
            }
        }
    }
}

//! The rule of Secure Boot, asked of real firmware: what it starts and what it refuses.

use std::io::Cursor;

use abide::boot::secure_boot::{Enforcing, KeyList, Verdict, judge};
use abide_qemu::pe::executable;
use abide_qemu::tiny::{self, Parts};
use abide_qemu::{Firmware, Machine, disk};
use abide_testing::secure_boot::{Keys, digest_list};

use crate::support::SOON;

/// An application that returns 0; the number makes it differ from others.
fn application(number: u8) -> Vec<u8> {
    executable(&[0x31, 0xc0, 0xc3, number])
}

/// The lists of the firmware, and executables.
struct Question {
    keys: Keys,
    db: Vec<u8>,
    dbx: Vec<u8>,
    cases: Vec<(&'static str, Vec<u8>)>,
}

impl Question {
    fn new() -> Self {
        let keys = Keys::new(&["vendor", "other", "ca", "old"]);
        for (name, by) in
            [("middle", "ca"), ("leaf", "middle"), ("gone", "ca"), ("late", "ca"), ("older", "old")]
        {
            keys.issue(name, by);
        }
        keys.issue_with("no-ca", "ca", "basicConstraints=CA:FALSE\n");
        keys.issue("below", "no-ca");
        keys.issue_with("plain", "ca", "");
        keys.issue("below-plain", "plain");
        let by_digest = application(1);
        let revoked = application(2);
        let db = [keys.list("vendor"), keys.list("ca"), keys.list("old"), digest_list(&by_digest)];
        let dbx = [
            keys.list("old"),
            keys.revoking("gone", false, 0),
            keys.revoking("late", true, 0),
            digest_list(&revoked),
        ];
        let signed = |name: &str, number| keys.sign(name, &[], &application(number));
        let mut changed = signed("vendor", 3);
        // Behind the code, in its section.
        changed[1024 + 100] ^= 1;
        let mut longer = signed("vendor", 4);
        longer.extend([0; 8]);
        let mut broken = signed("vendor", 5);
        let end = broken.len() - 20;
        broken[end] ^= 1;
        let cases = vec![
            ("unsigned", application(6)),
            ("key in db", signed("vendor", 7)),
            ("unknown key", signed("other", 8)),
            ("changed", changed),
            ("longer", longer),
            ("broken signature", broken),
            ("digest in db", by_digest),
            ("chain to db", keys.sign("leaf", &["middle"], &application(9))),
            ("chain with a gap", signed("leaf", 10)),
            ("issuer that is no CA", keys.sign("below", &["no-ca"], &application(20))),
            ("issuer without extensions", keys.sign("below-plain", &["plain"], &application(21))),
            ("revoked key", signed("old", 11)),
            ("issued by a revoked key", signed("older", 12)),
            ("hash of certificate in dbx", signed("gone", 13)),
            ("long hash of certificate in dbx", signed("late", 14)),
            ("digest in dbx", keys.sign("vendor", &[], &revoked)),
        ];
        let (db, dbx) = (db.concat(), dbx.concat());
        Self { keys, db, dbx, cases }
    }

    /// What the rule says.
    fn verdicts(&self) -> Vec<bool> {
        let firmware = Enforcing {
            db: KeyList::parse(&self.db).unwrap(),
            dbx: KeyList::parse(&self.dbx).unwrap(),
            mok: None,
        };
        let starts = |file: &[u8]| match judge(&firmware, &mut Cursor::new(file)).unwrap() {
            Verdict::Starts => true,
            Verdict::Refused(_) => false,
            Verdict::Unknown(why) => panic!("{why}"),
        };
        self.cases.iter().map(|(_, file)| starts(file)).collect()
    }
}

#[test]
fn firmware_starts_what_the_rule_accepts_and_nothing_else() {
    let question = Question::new();
    let parts = Parts::get().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("disk.raw");
    disk::create_with_esp(&image, 128).unwrap();
    let firmware =
        Firmware { variables: "/usr/share/OVMF/OVMF_VARS_4M.fd".into(), ..Firmware::secure_boot() };
    let machine = Machine::new("secure-boot").unwrap().firmware(firmware).disk_copy(&image).unwrap();

    // In setup mode, Linux enrols the keys.
    let esp = machine.esp().unwrap();
    esp.write("EFI/BOOT/BOOTX64.EFI", &parts.uki("edge", "1.0", "").unwrap()).unwrap();
    let vendor = question.keys.list("vendor");
    let variables = [("db", &question.db), ("dbx", &question.dbx), ("KEK", &vendor), ("PK", &vendor)];
    for (name, list) in variables {
        esp.write(name, &question.keys.variable("vendor", name, list)).unwrap();
    }
    esp.close().unwrap();
    let mut vm = machine.start().unwrap();
    vm.wait_for_boot(tiny::BOOT).unwrap();
    for (name, _) in variables {
        let guid = if name.starts_with("db") {
            "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
        } else {
            "8be4df61-93ca-11d2-aa0d-00e098032b8c"
        };
        let file = format!("/sys/firmware/efi/efivars/{name}-{guid}");
        let output = vm.run(&format!("dd if=/efi/{name} of={file} bs=64k")).unwrap();
        assert!(output.success(), "{name}: {output}");
    }
    vm.send("umount /efi; poweroff -f").unwrap();
    let machine = vm.wait_for_power_off(SOON).unwrap();

    // From now on it enforces them.
    let esp = machine.esp().unwrap();
    let shell = question.keys.sign("vendor", &[], &parts.shell().unwrap());
    esp.write("EFI/BOOT/BOOTX64.EFI", &shell).unwrap();
    esp.write("startup.nsh", b"@echo -off\r\nfs0:\r\necho shell-is-up\r\n").unwrap();
    for (number, (_, file)) in question.cases.iter().enumerate() {
        esp.write(&format!("{number}.efi"), file).unwrap();
    }
    esp.close().unwrap();
    let mut vm = machine.start().unwrap();
    vm.wait_for_line("shell-is-up", SOON).unwrap();
    for (number, ((name, _), starts)) in question.cases.iter().zip(question.verdicts()).enumerate() {
        // Typed: an application that is refused ends a script.
        vm.type_text(&format!("{number}.efi\recho case-{number}-%lasterror%.\r")).unwrap();
        let said = vm.wait_for_line(&format!("case-{number}-0x"), SOON).unwrap();
        assert_eq!(said.contains("-0x0."), starts, "{name}: {said}");
    }
}

//! A kernel module whose first instruction is not one: loading it is a real oops. Debian's kernels
//! come without the kernel's own means to that end (`CONFIG_LKDTM`), so it is made of one of theirs.

use std::path::PathBuf;

use abide_qemu::paths;
use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSection, ObjectSymbol};

/// One that needs no other and that nobody in the guest has loaded.
const MODULE: &str = "kernel/fs/nls/nls_koi8-r.ko";

/// `ud2`
const NO_INSTRUCTION: [u8; 2] = [0x0f, 0x0b];

/// What ends a module that is signed (`struct module_signature` of linux/module_signature.h comes
/// before it; its last four bytes are the length of what comes before that).
const SIGNED: &[u8] = b"~Module signature appended~\n";
const SIGNATURE_INFO: usize = 12;

/// The module, for the guest's kernel.
pub fn module() -> Vec<u8> {
    let modules = paths::target().join("guest/tree/usr/lib/modules");
    let kernel: PathBuf = modules.read_dir().unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(kernel.join(MODULE)).unwrap();
    // A wrong signature is refused, none at all only taints the kernel.
    if let Some(signed) = bytes.strip_suffix(SIGNED) {
        let length = u32::from_be_bytes(signed[signed.len() - 4..].try_into().unwrap());
        let rest = signed.len() - SIGNATURE_INFO - usize::try_from(length).unwrap();
        bytes.truncate(rest);
    }
    let at = {
        let elf = ElfFile64::<Endianness>::parse(bytes.as_slice()).unwrap();
        let start = elf.symbols().find(|symbol| symbol.name() == Ok("init_module")).unwrap();
        let section = elf.section_by_index(start.section_index().unwrap()).unwrap();
        usize::try_from(section.file_range().unwrap().0 + start.address()).unwrap()
    };
    bytes[at..at + NO_INSTRUCTION.len()].copy_from_slice(&NO_INSTRUCTION);
    bytes
}

//! EFI variables: hints that are read, and the few overrides of the loader that are cleared.

pub mod efivars;
pub mod loader_vars;

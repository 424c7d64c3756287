//! The command line: one file per command.

mod apply;
mod assess;
mod cancel;
mod check;
mod command;
mod command_line;
mod commit;
mod config;
mod confirm;
mod context;
mod doctor;
mod emt;
mod forget;
mod generator;
mod history;
mod initrd;
mod interrupt;
mod list;
mod output;
mod progress;
mod publish;
mod report;
mod rollback;
mod status;
mod update;
mod write;

pub use command_line::main;
use context::Context;

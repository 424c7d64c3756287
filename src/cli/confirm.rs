//! `abide confirm` and `abide deny`

use crate::health::kinds::confirm::Confirmation;
use abide_core::error::{Error, Result};
use abide_core::state::{BootKind, BootNote};

use crate::cli::Context;

/// `abide confirm`
#[derive(Debug, clap::Args)]
pub struct ConfirmArgs {}

/// `abide deny`
#[derive(Debug, clap::Args)]
pub struct DenyArgs {
    /// Why the system is not healthy; goes into the failure record
    #[arg(value_name = "REASON")]
    reason: Option<String>,
}

pub fn confirm(context: &Context, _: &ConfirmArgs) -> Result<()> {
    answer(context, true, "")
}

pub fn deny(context: &Context, args: &DenyArgs) -> Result<()> {
    answer(context, false, args.reason.as_deref().unwrap_or_default())
}

fn answer(context: &Context, confirmed: bool, reason: &str) -> Result<()> {
    let root = &context.root;
    if BootNote::read(root).is_none_or(|note| note.kind != BootKind::Trial) {
        return Err(Error::Nothing("this boot is not on trial; there is nothing to confirm or deny".into()));
    }
    Confirmation::new(root, confirmed, reason).write(root)
}

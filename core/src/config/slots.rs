//! `[slots]`: which partitions hold the two roots, where Abide does not find them by their labels.

use crate::config::form::Text;
use crate::config::section::Section;
use crate::config::table::settings;
use crate::error::Result;

/// Gives the table `[slots]` to the macro `of`, as [`assess_table!`](crate::assess_table) does.
#[macro_export]
macro_rules! slots_table {
    ($of:ident) => {
        $of! {
            /// The partition labels of the two roots.
            #[derive(Debug, Clone, PartialEq, Eq)]
            pub struct SlotLabels checked by differ {
                /// The partition label of slot a's root.
                pub a: Text, example "system-left";
                /// The partition label of slot b's root.
                pub b: Text, example "system-right";
            }
        }
    };
}

pub use slots_table;

slots_table!(settings);

impl SlotLabels {
    fn differ(&self, section: &Section<'_>) -> Result<()> {
        if self.a == self.b {
            return Err(section.error("a and b are the same partition label"));
        }
        Ok(())
    }
}

//! The descriptions of the tables that a boot reads, too. The tables themselves are in the core.

use std::time::Duration;

use abide_core::config::form::{Count, Flag, Optional, Span, Sub, Text, Word};
use abide_core::config::{Assess, BootConfig, OnFailure, SlotLabels, assess_table, boot_tables, slots_table};

use crate::config::table::describe;

boot_tables!(describe);
assess_table!(describe);
slots_table!(describe);

//! Tables of settings with their descriptions: what `abide config`, the reference and the example file say of a key
//! comes from the lines that it is read by.

use abide_core::config::tree::{Node, Origin, Table, Value};

/// The keys that have a value, as a table that is not in any file.
#[must_use]
pub fn table_of<const N: usize>(values: [(&'static str, Option<Value>); N]) -> Table {
    let node = |value| Node { value, origin: Origin::default() };
    values.into_iter().filter_map(|(key, value)| Some((key.to_owned(), node(value?)))).collect()
}

/// Defines a table as [`abide_core::settings!`] does, and describes it.
macro_rules! settings {
    ($($table:tt)+) => {
        abide_core::config::table::settings! { $($table)+ }
        $crate::config::table::describe! { $($table)+ }
    };
}

/// Describes a table, given as it is defined.
macro_rules! describe {
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };

    (@default $form:ty) => { None };
    (@default $form:ty; otherwise $otherwise:literal $(; $default:expr)?) => { None };
    (@default $form:ty; $default:expr) => {
        Some(|| <$form as $crate::config::described::DescribedForm>::write(&$default))
    };

    (@required) => { true };
    (@required $default:expr) => { false };

    (@text) => { None };
    (@text $text:expr) => { Some($text) };

    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident $(checked by $check:ident)? {
            $(
                $(#[doc = $help:literal])+
                $field_vis:vis $field:ident $(as $key:literal)?: $form:ty $(= $default:expr)?
                $(, otherwise $otherwise:literal)? $(, example $example:tt)?;
            )+
        }
    ) => {
        impl $crate::config::described::DescribedSettings for $name {
            const KEYS: &'static [$crate::config::setting::Setting] = &[$(
                $crate::config::setting::Setting {
                    key: $crate::config::table::describe!(@key $field $($key)?),
                    help: concat!($($help),+),
                    form: <$form as $crate::config::described::DescribedForm>::described,
                    table: <$form as $crate::config::described::DescribedForm>::table,
                    required: $crate::config::table::describe!(@required $($default)?),
                    default: $crate::config::table::describe!(
                        @default $form $(; otherwise $otherwise)? $(; $default)?
                    ),
                    otherwise: $crate::config::table::describe!(@text $($otherwise)?),
                    example: $crate::config::table::describe!(@text $(stringify!($example))?),
                },
            )+];

            fn write(&self) -> abide_core::config::tree::Table {
                let values = [$((
                    $crate::config::table::describe!(@key $field $($key)?),
                    <$form as $crate::config::described::DescribedForm>::write(&self.$field),
                )),+];
                $crate::config::table::table_of(values)
            }
        }
    };
}

pub(crate) use {describe, settings};

//! Tables of settings, one line a key, with its form, its default and what it means.
//!
//! [`settings!`] makes a struct of such a table. The reader, the defaults, `abide config`, the reference and the
//! example file all come from its lines.

use crate::config::tree::{Node, Origin, Table, Value};

/// The keys that have a value, as a table that is not in any file.
#[must_use]
pub fn table_of<const N: usize>(values: [(&'static str, Option<Value>); N]) -> Table {
    let node = |value| Node { value, origin: Origin::default() };
    values.into_iter().filter_map(|(key, value)| Some((key.to_owned(), node(value?)))).collect()
}

/// Defines a table of the configuration, one line a key:
///
/// ```text
/// settings! {
///     /// What the struct is.
///     #[derive(Debug, Clone, PartialEq)]
///     pub struct Example checked by fits {
///         /// What the key means: for rustdoc, the reference and the example file.
///         pub tries: Count<1, 9> = 3;
///         /// A required key. The `example` is for messages and the example file.
///         pub start: Time, example "02:00";
///         /// A default that depends on a key above, with its description for the reference.
///         pub jitter: Span = start, otherwise "as `start`", example "1h";
///         /// A field with another name than its key.
///         pub fs_type as "type": Optional<Text> = None, otherwise "any", example "ext4";
///     }
/// }
/// ```
///
/// This makes the struct, its [`Settings`](crate::config::section::Settings), and its `Default` if every key has a
/// default. `checked by` names a method `fn(&self, &Section) -> Result<()>` that checks several keys together.
#[macro_export]
macro_rules! settings {
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };

    (@read $section:ident $form:ty, $key:expr; default $default:expr $(; example $example:tt)?) => {
        match $section.read::<$form>($key)? {
            Some(value) => value,
            None => $default,
        }
    };
    (@read $section:ident $form:ty, $key:expr; example $example:tt) => {
        $section.need::<$form>($key, stringify!($example))?
    };

    (@default $form:ty) => { None };
    (@default $form:ty; otherwise $otherwise:literal $(; $default:expr)?) => { None };
    (@default $form:ty; $default:expr) => {
        Some(|| <$form as $crate::config::section::Form>::write(&$default))
    };

    (@required) => { true };
    (@required $default:expr) => { false };

    (@text) => { None };
    (@text $text:expr) => { Some($text) };

    (
        @table
        $(#[$meta:meta])*
        $vis:vis struct $name:ident $(checked by $check:ident)? {
            $(
                $(#[doc = $help:literal])+
                $field_vis:vis $field:ident $(as $key:literal)?: $form:ty $(= $default:expr)?
                $(, otherwise $otherwise:literal)? $(, example $example:tt)?;
            )+
        }
    ) => {
        $(#[$meta])*
        $vis struct $name {
            $($(#[doc = $help])+ $field_vis $field: <$form as $crate::config::section::Form>::Value,)+
        }

        impl $crate::config::section::Settings for $name {
            const KEYS: &'static [$crate::config::setting::Setting] = &[$(
                $crate::config::setting::Setting {
                    key: $crate::config::table::settings!(@key $field $($key)?),
                    help: concat!($($help),+),
                    form: <$form as $crate::config::section::Form>::described,
                    table: <$form as $crate::config::section::Form>::table,
                    required: $crate::config::table::settings!(@required $($default)?),
                    default: $crate::config::table::settings!(@default $form $(; otherwise $otherwise)? $(; $default)?),
                    otherwise: $crate::config::table::settings!(@text $($otherwise)?),
                    example: $crate::config::table::settings!(@text $(stringify!($example))?),
                },
            )+];

            fn read(section: &mut $crate::config::section::Section<'_>) -> $crate::error::Result<Self> {
                $(let $field = $crate::config::table::settings!(
                    @read section $form, $crate::config::table::settings!(@key $field $($key)?)
                    $(; default $default)? $(; example $example)?
                );)+
                let table = Self { $($field),+ };
                $(table.$check(section)?;)?
                Ok(table)
            }

            fn write(&self) -> $crate::config::tree::Table {
                let values = [$((
                    $crate::config::table::settings!(@key $field $($key)?),
                    <$form as $crate::config::section::Form>::write(&self.$field),
                )),+];
                $crate::config::table::table_of(values)
            }
        }
    };

    // Every key has a default.
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident $(checked by $check:ident)? {
            $(
                $(#[doc = $help:literal])+
                $field_vis:vis $field:ident $(as $key:literal)?: $form:ty = $default:expr
                $(, otherwise $otherwise:literal)? $(, example $example:tt)?;
            )+
        }
    ) => {
        $crate::config::table::settings! {
            @table
            $(#[$meta])*
            $vis struct $name $(checked by $check)? {
                $(
                    $(#[doc = $help])+
                    $field_vis $field $(as $key)?: $form = $default
                    $(, otherwise $otherwise)? $(, example $example)?;
                )+
            }
        }

        impl Default for $name {
            fn default() -> Self {
                $(let $field: <$form as $crate::config::section::Form>::Value = $default;)+
                Self { $($field),+ }
            }
        }
    };

    ($(#[$meta:meta])* $vis:vis struct $($table:tt)+) => {
        $crate::config::table::settings! { @table $(#[$meta])* $vis struct $($table)+ }
    };
}

pub use settings;

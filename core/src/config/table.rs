//! Tables of settings, one line a key, with its form, its default and what it means.
//!
//! [`settings!`] makes a struct of such a table, with its reader and its defaults. The product makes the rest from
//! the same lines: `abide config`, the reference and the example file. A table of the core is therefore the body of a
//! macro that gives it to the macro that is named.

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
            fn read(section: &mut $crate::config::section::Section<'_>) -> $crate::error::Result<Self> {
                $(let $field = $crate::config::table::settings!(
                    @read section $form, $crate::config::table::settings!(@key $field $($key)?)
                    $(; default $default)? $(; example $example)?
                );)+
                let table = Self { $($field),+ };
                $(table.$check(section)?;)?
                Ok(table)
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

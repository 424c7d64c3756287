//! For what a parser gives back.

/// Makes sure that an unused value is computed.
pub fn used<T>(value: T) {
    drop(std::hint::black_box(value));
}

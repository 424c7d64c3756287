//! For what a parser gives back.

/// Has a value computed that nobody wants.
pub fn used<T>(value: T) {
    drop(std::hint::black_box(value));
}

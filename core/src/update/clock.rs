//! The wall clock, which is only ever shown to people.

/// Now, as RFC 3339 in UTC with whole seconds.
#[must_use]
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_time_is_written_as_rfc_3339_in_utc() {
        let now = super::now();
        assert_eq!(now.len(), "2026-01-02T03:04:05Z".len());
        assert!(now.ends_with('Z') && now.contains('T'));
    }
}

//! Quantities of Kubernetes (`10Gi`, `500m`, `1e3`), as far as they have to be compared.

/// The number that `text` stands for; `None` where it is no quantity.
pub(crate) fn bytes_of(text: &str) -> Option<f64> {
    let units = [
        ("Ki", 1024f64),
        ("Mi", 1024f64.powi(2)),
        ("Gi", 1024f64.powi(3)),
        ("Ti", 1024f64.powi(4)),
        ("Pi", 1024f64.powi(5)),
        ("Ei", 1024f64.powi(6)),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let with_unit = units
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
    let (number, factor) = with_unit.unwrap_or((text, 1.0));
    let is_number = |c: char| c.is_ascii_digit() || ".eE+-".contains(c);
    if !number.starts_with(|c: char| c.is_ascii_digit()) || !number.chars().all(is_number) {
        return None;
    }
    number.parse::<f64>().ok().map(|number| number * factor)
}

/// Whether two texts are the same quantity, as `1000m` and `1` are.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    match (bytes_of(one), bytes_of(other)) {
        (Some(one), Some(other)) => (one - other).abs() <= f64::EPSILON * one.abs(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_that_are_written_in_two_ways_are_the_same() {
        assert!(is_same("1000m", "1"));
        assert!(is_same("1Gi", "1024Mi"));
        assert!(is_same("1e3", "1k"));
        assert!(!is_same("1G", "1Gi"));
        assert!(!is_same("abc", "abc"));
        assert_eq!(bytes_of("10Gi"), Some(10.0 * 1024.0 * 1024.0 * 1024.0));
        assert_eq!(bytes_of("info"), None);
    }
}

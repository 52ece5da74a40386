//! Tables as they are common at a shell: columns under headings, no lines, so that `awk` and `cut`
//! read them too.

use comfy_table::ContentArrangement;
use comfy_table::presets::NOTHING;

/// Rows under headings.
#[derive(Debug)]
pub(crate) struct Table {
    inner: comfy_table::Table,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new<'a>(headings: impl IntoIterator<Item = &'a str>) -> Self {
        let mut inner = comfy_table::Table::new();
        inner
            .load_style(NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(headings);
        Self { inner }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.inner.add_row(cells);
    }

    /// The whole, without a last newline.
    pub(crate) fn text(mut self) -> String {
        for column in self.inner.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let lines: Vec<_> = self
            .inner
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect();
        lines.join("\n")
    }
}

/// `name: value` lines for one thing, the values aligned.
pub(crate) fn fields(fields: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let fields: Vec<_> = fields.into_iter().collect();
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
    let lines: Vec<_> = fields
        .iter()
        .map(|(name, value)| {
            let label = format!("{name}:");
            format!("{label:width$}{value}").trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_fields_are_aligned() {
        let text = fields([("Name", "a".to_owned()), ("Partitions", "2".to_owned())]);

        assert_eq!(text, "Name:       a\nPartitions: 2");
    }
}

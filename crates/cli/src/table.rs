//! Columns aligned with tabs to multiples of eight, as upstream's tables are.

/// Width of a tab stop.
const TAB: usize = 8;

/// Lines whose cells are separated by tabs, aligned.
pub(crate) fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths = (0..columns).map(|column| {
        let cells = rows.iter().filter(|row| column + 1 < row.len());
        let widest = cells
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0);
        (widest + 1).next_multiple_of(TAB)
    });
    let widths = widths.collect::<Vec<_>>();
    let mut out = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            out.push_str(cell);
            if column + 1 < row.len() {
                let missing = widths[column] - cell.chars().count();
                out.push_str(&"\t".repeat(missing.div_ceil(TAB)));
            }
        }
        out.push('\n');
    }
    out
}

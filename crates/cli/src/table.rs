//! Columns as Go's tabwriter aligns them: cells that stand below each other
//! in neighbouring rows get one width.

/// What fills the room behind a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filling {
    /// Tabs, to multiples of eight.
    Tabs,
    /// As many spaces as it takes.
    Spaces,
}

/// Width of a tab stop.
const TAB: usize = 8;

/// Rows of cells, aligned with tabs.
pub(crate) fn align(rows: &[Vec<String>]) -> String {
    aligned(rows, Filling::Tabs)
}

/// Rows of cells, aligned with spaces.
pub(crate) fn align_with_spaces(rows: &[Vec<String>]) -> String {
    aligned(rows, Filling::Spaces)
}

fn aligned(rows: &[Vec<String>], filling: Filling) -> String {
    let mut out = String::new();
    block(rows, &mut Vec::new(), filling, &mut out);
    out
}

/// Writes rows of which all have the columns that `widths` is for.
fn block(rows: &[Vec<String>], widths: &mut Vec<usize>, filling: Filling, out: &mut String) {
    // A row's last cell ends no column.
    let column = widths.len();
    let goes_on = |row: &Vec<String>| column + 1 < row.len();
    let mut rest = rows;
    while let Some(first) = rest.iter().position(goes_on) {
        write_rows(&rest[..first], widths, filling, out);
        rest = &rest[first..];
        let length = rest
            .iter()
            .position(|row| !goes_on(row))
            .unwrap_or(rest.len());
        let widest = rest[..length].iter().map(|row| row[column].chars().count());
        widths.push(widest.max().unwrap_or(0) + 1);
        block(&rest[..length], widths, filling, out);
        widths.pop();
        rest = &rest[length..];
    }
    write_rows(rest, widths, filling, out);
}

fn write_rows(rows: &[Vec<String>], widths: &[usize], filling: Filling, out: &mut String) {
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            out.push_str(cell);
            let Some(width) = widths.get(column) else {
                continue;
            };
            let used = cell.chars().count();
            match filling {
                Filling::Tabs => {
                    let missing = width.next_multiple_of(TAB) - used;
                    out.push_str(&"\t".repeat(missing.div_ceil(TAB)));
                }
                Filling::Spaces => out.push_str(&" ".repeat(width - used)),
            }
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rows: &[&str], tabs: &str, spaces: &str) {
        let rows = rows
            .iter()
            .map(|row| row.split('|').map(str::to_owned).collect());
        let rows = rows.collect::<Vec<Vec<String>>>();
        assert_eq!(align(&rows), tabs);
        assert_eq!(align_with_spaces(&rows), spaces);
    }

    #[test]
    fn neighbouring_cells_get_one_width() {
        check(&["a|b", "ccc|d"], "a\tb\nccc\td\n", "a   b\nccc d\n");
        check(
            &["12345678|x", "1|y"],
            "12345678\tx\n1\t\ty\n",
            "12345678 x\n1        y\n",
        );
    }

    #[test]
    fn a_row_without_the_column_ends_it() {
        check(
            &["ID:|x", "Labels:", "|a long key:|v", "|b:|w", "", "Next:|z"],
            "ID:\tx\nLabels:\n\ta long key:\tv\n\tb:\t\tw\n\nNext:\tz\n",
            "ID: x\nLabels:\n a long key: v\n b:          w\n\nNext: z\n",
        );
    }
}

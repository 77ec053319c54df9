//! Replacements in Java's syntax.

/// Part of a replacement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Stands as it is.
    Text(String),
    /// What this group matched.
    Group(usize),
}

const NO_GROUP: &str = "behind $ there is no group: write $1, or ${name} for a named one; a dollar sign itself is \\$";
const NO_SUCH_GROUP: &str = "the pattern has no such group; $0 is all of the match";

/// Takes a replacement apart, for a pattern with so many groups, of which these have names.
pub(super) fn parse(text: &str, groups: usize, names: &[(String, usize)]) -> Result<Vec<Part>, &'static str> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '\\' => literal.push(rest.next().ok_or("a backslash stands at the end: a backslash itself is \\\\")?),
            '$' => {
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(Part::Group(match rest.next() {
                    Some('{') => named(&mut rest, names)?,
                    first => numbered(first, &mut rest, groups)?,
                }));
            }
            other => literal.push(other),
        }
    }
    if !literal.is_empty() {
        parts.push(Part::Text(literal));
    }
    Ok(parts)
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Further digits belong to the number as long as there is such a group.
fn numbered(first: Option<char>, rest: &mut Chars<'_>, groups: usize) -> Result<usize, &'static str> {
    let digit = |letter: char| letter.to_digit(10).map(|digit| digit as usize);
    let mut number = first.and_then(digit).ok_or(NO_GROUP)?;
    if number > groups {
        return Err(NO_SUCH_GROUP);
    }
    while let Some(longer) = rest.peek().copied().and_then(digit).map(|digit| number * 10 + digit)
        && longer <= groups
    {
        number = longer;
        rest.next();
    }
    Ok(number)
}

fn named(rest: &mut Chars<'_>, names: &[(String, usize)]) -> Result<usize, &'static str> {
    let mut name = String::new();
    loop {
        match rest.next() {
            Some('}') => break,
            Some(letter) if letter.is_ascii_alphanumeric() => name.push(letter),
            _ => return Err(NO_GROUP),
        }
    }
    names.iter().find(|(known, _)| *known == name).map(|(_, number)| *number).ok_or(NO_SUCH_GROUP)
}

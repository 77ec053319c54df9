//! `\p{...}`: Java's names of classes.

use super::class::Set;

/// The class with this name; `ignores_case` as the flag `i`, which lets the classes of one case match the other.
///
/// # Errors
/// There is none with this name, or it cannot be carried out; with what to write instead.
pub(super) fn find(name: &str, ignores_case: bool) -> Result<Set, String> {
    if let Some((kind, value)) = name.split_once('=') {
        return match kind.to_ascii_lowercase().as_str() {
            "sc" | "script" => script(value),
            "gc" | "general_category" => plain(value, ignores_case),
            "blk" | "block" => return Err(block(value)),
            _ => None,
        }
        .ok_or_else(|| unknown(name));
    }
    if let Some(value) = name.strip_prefix("In") {
        return Err(block(value));
    }
    match name.strip_prefix("Is") {
        Some(short) => binary(&short.to_ascii_uppercase(), ignores_case)
            .or_else(|| plain(short, ignores_case))
            .or_else(|| script(short)),
        None => plain(name, ignores_case),
    }
    .ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> String {
    format!(
        "\\p{{{name}}} is no class that is known here: names are those of java.util.regex.Pattern, as in \\p{{Lower}} or \\p{{L}}"
    )
}

fn block(name: &str) -> String {
    format!(
        "blocks of Unicode ({name}) are not supported: write the range of the block, as in [\\u0370-\\u03FF], or its script, as in \\p{{IsGreek}}"
    )
}

/// Names of [`binary`] and of the classes of `java.lang.Character`, without the marks of their kinds.
fn plain(name: &str, ignores_case: bool) -> Option<Set> {
    if let Some(method) = name.strip_prefix("java") {
        return java(method, ignores_case);
    }
    Some(match name {
        "Lower" | "Upper" if ignores_case => Set::new("a-zA-Z"),
        "Lower" => Set::new("a-z"),
        "Upper" => Set::new("A-Z"),
        "ASCII" => Set::new(r"\x{0}-\x{7F}"),
        "Alpha" => Set::new("a-zA-Z"),
        "Digit" => Set::new("0-9"),
        "Alnum" => Set::new("a-zA-Z0-9"),
        "Punct" => Set::new(r"\x{21}-\x{2F}\x{3A}-\x{40}\x{5B}-\x{60}\x{7B}-\x{7E}"),
        "Graph" => Set::new(r"\x{21}-\x{7E}"),
        "Print" => Set::new(r"\x{20}-\x{7E}"),
        "Blank" => Set::new(r"\x{9}\x{20}"),
        "Cntrl" => Set::new(r"\x{0}-\x{1F}\x{7F}"),
        "XDigit" => Set::new("0-9a-fA-F"),
        "Space" => Set::new(r"\x{9}-\x{D}\x{20}"),
        "L1" => Set::new(r"\x{0}-\x{FF}"),
        "all" => Set::new(r"\x{0}-\x{10FFFF}"),
        "LD" => Set::new(r"\p{L}\p{Nd}"),
        // Text here is UTF-8, which has none.
        "Cs" => Set::nothing(),
        "Lu" | "Ll" | "Lt" if ignores_case => Set::new(r"\p{Lu}\p{Ll}\p{Lt}"),
        "LC" => Set::new(r"\p{Lu}\p{Ll}\p{Lt}"),
        "Cn" | "Lu" | "Ll" | "Lt" | "Lm" | "Lo" | "Mn" | "Me" | "Mc" | "Nd" | "Nl" | "No" | "Zs" | "Zl" | "Zp"
        | "Cc" | "Cf" | "Co" | "Pd" | "Ps" | "Pe" | "Pc" | "Po" | "Sm" | "Sc" | "Sk" | "So" | "Pi" | "Pf" | "L"
        | "M" | "N" | "Z" | "C" | "P" | "S" => Set::new(&format!("\\p{{{name}}}")),
        _ => return None,
    })
}

/// Properties of Unicode that are yes or no, in upper case; they stand behind `Is`.
fn binary(name: &str, ignores_case: bool) -> Option<Set> {
    Some(Set::new(match name {
        "LOWERCASE" | "UPPERCASE" | "TITLECASE" if ignores_case => r"\p{Lowercase}\p{Uppercase}\p{Lt}",
        "ALPHABETIC" => r"\p{Alphabetic}",
        "LETTER" => r"\p{L}",
        "IDEOGRAPHIC" => r"\p{Ideographic}",
        "LOWERCASE" => r"\p{Lowercase}",
        "UPPERCASE" => r"\p{Uppercase}",
        "TITLECASE" => r"\p{Lt}",
        "WHITE_SPACE" | "WHITESPACE" => r"\p{White_Space}",
        "CONTROL" => r"\p{Cc}",
        "PUNCTUATION" => r"\p{P}",
        "DIGIT" => r"\p{Nd}",
        "ASSIGNED" => r"[^\p{Cn}]",
        "HEX_DIGIT" | "HEXDIGIT" => {
            r"\p{Nd}\x{30}-\x{39}\x{41}-\x{46}\x{61}-\x{66}\x{FF10}-\x{FF19}\x{FF21}-\x{FF26}\x{FF41}-\x{FF46}"
        }
        "JOIN_CONTROL" | "JOINCONTROL" => r"\x{200C}\x{200D}",
        "NONCHARACTER_CODE_POINT" | "NONCHARACTERCODEPOINT" => r"\p{Noncharacter_Code_Point}",
        "WORD" => r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200C}\x{200D}",
        "ALNUM" => r"\p{Alphabetic}\p{Nd}",
        "BLANK" => r"\p{Zs}\x{9}",
        "GRAPH" => r"[^\p{White_Space}\p{Cc}\p{Cn}]",
        "PRINT" => r"[^\p{Zl}\p{Zp}\p{Cc}\p{Cn}]",
        _ => return None,
    }))
}

/// What methods of `java.lang.Character` say, as in `\p{javaLowerCase}`.
fn java(method: &str, ignores_case: bool) -> Option<Set> {
    Some(Set::new(match method {
        "LowerCase" | "UpperCase" | "TitleCase" if ignores_case => r"\p{Lowercase}\p{Uppercase}\p{Lt}",
        "LowerCase" => r"\p{Lowercase}",
        "UpperCase" => r"\p{Uppercase}",
        "TitleCase" => r"\p{Lt}",
        "Alphabetic" => r"\p{Alphabetic}",
        "Ideographic" => r"\p{Ideographic}",
        "Digit" => r"\p{Nd}",
        "Defined" => r"[^\p{Cn}]",
        "Letter" => r"\p{L}",
        "LetterOrDigit" => r"\p{L}\p{Nd}",
        "SpaceChar" => r"\p{Z}",
        "Whitespace" => r"[\p{Z}&&[^\x{A0}\x{2007}\x{202F}]]\x{9}-\x{D}\x{1C}-\x{1F}",
        "ISOControl" => r"\p{Cc}",
        "JavaIdentifierStart" => r"\p{L}\p{Nl}\p{Sc}\p{Pc}",
        "JavaIdentifierPart" => r"\p{L}\p{Nl}\p{Sc}\p{Pc}\p{Nd}\p{Mc}\p{Mn}\x{0}-\x{8}\x{E}-\x{1B}\x{7F}-\x{9F}\p{Cf}",
        "IdentifierIgnorable" => r"\x{0}-\x{8}\x{E}-\x{1B}\x{7F}-\x{9F}\p{Cf}",
        _ => return None,
    }))
}

/// The characters of a script, by its name or its four letters.
fn script(name: &str) -> Option<Set> {
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let class = format!("\\p{{sc={name}}}");
    // The crate knows the names.
    (is_name && fancy_regex::Regex::new(&class).is_ok()).then(|| Set::new(&class))
}

//! PEM (RFC 7468): the sections of a text, each in Base64 between its lines.

use super::material::MaterialError;

/// One section.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// What stands behind BEGIN.
    pub label: String,
    /// What it holds.
    pub der: Vec<u8>,
    /// The line of BEGIN.
    pub line: usize,
    /// Encrypted as OpenSSL did before PKCS#8.
    pub is_old_encryption: bool,
}

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// Whether there is a section in it.
pub(super) fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(BEGIN.len()).any(|window| window == BEGIN)
}

/// All sections, in their order; what stands between them is passed over, as OpenSSL does.
pub(super) fn sections(bytes: &[u8]) -> Result<Vec<Section>, MaterialError> {
    let mut sections = Vec::new();
    let mut open: Option<(Section, Vec<u8>)> = None;
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let (line, number) = (line.trim_ascii(), index + 1);
        match open.as_mut() {
            None => {
                if let Some(label) = label(line, BEGIN) {
                    let section = Section { label, der: Vec::new(), line: number, is_old_encryption: false };
                    open = Some((section, Vec::new()));
                }
            }
            Some((section, text)) => {
                if line.starts_with(BEGIN) {
                    return Err(MaterialError::NoEnd { line: section.line });
                } else if line.starts_with(END) {
                    if label(line, END).as_ref() != Some(&section.label) {
                        return Err(MaterialError::NoEnd { line: section.line });
                    }
                    if let Some((section, text)) = open.take() {
                        sections.push(decoded(section, &text)?);
                    }
                } else if line.contains(&b':') {
                    section.is_old_encryption |= line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED");
                    // Base64 has no colon: a header, whose continuation lines are those of old encryption.
                } else {
                    text.extend_from_slice(line);
                }
            }
        }
    }
    match open {
        Some((section, _)) => Err(MaterialError::NoEnd { line: section.line }),
        None => Ok(sections),
    }
}

fn label(line: &[u8], start: &[u8]) -> Option<String> {
    let label = line.strip_prefix(start)?.strip_suffix(DASHES)?;
    String::from_utf8(label.to_vec()).ok()
}

fn decoded(mut section: Section, text: &[u8]) -> Result<Section, MaterialError> {
    if !section.is_old_encryption {
        section.der = base64_simd::STANDARD
            .decode_to_vec(text)
            .map_err(|_| MaterialError::NotBase64 { label: section.label.clone(), line: section.line })?;
    }
    Ok(section)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_found_between_other_text_and_with_any_line_end() {
        let text = b"Bag Attributes\r\n  friendlyName: a\r\n-----BEGIN CERTIFICATE-----\r\naGk=\r\n-----END CERTIFICATE-----\r\n\n-----BEGIN PRIVATE KEY-----\naG\nk=\n-----END PRIVATE KEY-----";
        let sections = sections(text).unwrap();
        let seen: Vec<_> = sections.iter().map(|it| (it.label.as_str(), it.der.as_slice(), it.line)).collect();
        assert_eq!(seen, [("CERTIFICATE", b"hi".as_slice(), 3), ("PRIVATE KEY", b"hi".as_slice(), 7)]);
    }

    #[test]
    fn a_section_that_is_cut_off_or_no_base64_is_named_by_its_line() {
        let cut = b"\n-----BEGIN CERTIFICATE-----\naGk=\n";
        assert_eq!(sections(cut), Err(MaterialError::NoEnd { line: 2 }));
        let twice = b"-----BEGIN CERTIFICATE-----\naGk=\n-----BEGIN CERTIFICATE-----\naGk=\n-----END CERTIFICATE-----";
        assert_eq!(sections(twice), Err(MaterialError::NoEnd { line: 1 }));
        let wrong = b"-----BEGIN CERTIFICATE-----\na?k=\n-----END CERTIFICATE-----";
        assert_eq!(sections(wrong), Err(MaterialError::NotBase64 { label: "CERTIFICATE".to_owned(), line: 1 }));
    }

    #[test]
    fn old_encryption_is_seen() {
        let text = b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\naGk=\n-----END RSA PRIVATE KEY-----\n";
        assert!(sections(text).unwrap()[0].is_old_encryption);
    }
}

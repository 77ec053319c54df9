//! Who may ask what. Metrics and health are open; what shows settings answers to this machine, or to who has the token.

use std::net::IpAddr;

/// What a request says about who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The peer's address.
    pub peer: IpAddr,
    /// `Host`, or `:authority`.
    pub host: Option<&'a str>,
    /// `Origin`: sent by browsers for pages of others.
    pub origin: Option<&'a str>,
    /// `Sec-Fetch-Site`: what browsers say of whose page made the request; nobody else sends it.
    pub site: Option<&'a str>,
    /// `Sec-Fetch-Dest`: what browsers want it for.
    pub destination: Option<&'a str>,
    /// `Authorization`.
    pub authorization: Option<&'a str>,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A token is configured, and it was not given or is another one.
    Token,
    /// None is configured, and the peer is not this machine.
    Elsewhere,
    /// A browser that a page of others drives: the request names another site, or is for a name that anybody may have given
    /// this machine's address.
    Foreign,
}

impl Refusal {
    /// For whoever asked: what to do.
    pub const fn text(self) -> &'static str {
        match self {
            Refusal::Token => {
                "give the token of service.manage.token-file: Authorization: Bearer TOKEN; in a browser as the password, with any user name\n"
            }
            Refusal::Elsewhere => {
                "this page answers to this machine only; ask for it from there, or set service.manage.token-file and give the token\n"
            }
            Refusal::Foreign => {
                "this page answers to no page of another site, and without the token of service.manage.token-file only to requests for an address or localhost, such as http://127.0.0.1\n"
            }
        }
    }
}

impl Asker<'_> {
    /// Without what says that a page of others made the request, if all that it did is to lead there (a link). For answers
    /// that hold nothing and begin nothing.
    #[must_use]
    pub fn led(self) -> Self {
        if self.destination == Some("document") { Asker { site: None, ..self } } else { self }
    }

    /// Sent by a page of others. A picture of such a page has no `Origin`, and browsers add the password that they know.
    fn is_of_others(self) -> bool {
        self.site.is_some_and(|site| !matches!(site, "same-origin" | "none"))
    }
}

/// Whether a page that is not open may be shown.
///
/// # Errors
/// Why not.
pub fn check(asker: Asker<'_>, token: Option<&[u8]>) -> Result<(), Refusal> {
    if asker.is_of_others() {
        return Err(Refusal::Foreign);
    }
    if let (Some(token), Some(given)) = (token, asker.authorization) {
        return if password(given).is_some_and(|given| is_same(&given, token)) { Ok(()) } else { Err(Refusal::Token) };
    }
    if !asker.peer.to_canonical().is_loopback() {
        return Err(if token.is_some() { Refusal::Token } else { Refusal::Elsewhere });
    }
    // A name that resolves to this machine for the sake of a page of others (DNS rebinding).
    let is_own = |host: &str| {
        let name = without_port(host);
        name.eq_ignore_ascii_case("localhost") || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
    };
    let origin_is_own = |origin: &str| origin.split_once("://").is_some_and(|(_, host)| Some(host) == asker.host);
    if asker.host.is_some_and(is_own) && asker.origin.is_none_or(origin_is_own) {
        Ok(())
    } else {
        Err(Refusal::Foreign)
    }
}

/// The token of `Bearer`, or the password of `Basic`, whatever its user: browsers have no other way to ask for one.
fn password(authorization: &str) -> Option<Vec<u8>> {
    let (scheme, given) = authorization.split_once(' ')?;
    let given = given.trim().as_bytes();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(given.to_vec());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = base64_simd::STANDARD.decode_to_vec(given).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    pair.get(colon + 1..).map(<[u8]>::to_vec)
}

/// Takes as long for every token of one length.
fn is_same(given: &[u8], token: &[u8]) -> bool {
    given.len() == token.len() && given.iter().zip(token).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') =>
        {
            // `::1` without brackets is an address, not a name with a port.
            if name.contains(':') && !name.starts_with('[') { host } else { name }
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker<'a>(peer: &str, host: &'a str, origin: Option<&'a str>, authorization: Option<&'a str>) -> Asker<'a> {
        Asker { peer: peer.parse().unwrap(), host: Some(host), origin, site: None, destination: None, authorization }
    }

    #[test]
    fn without_a_token_this_machine_may_and_nobody_else() {
        for (peer, host) in [
            ("127.0.0.1", "127.0.0.1:8902"),
            ("127.0.0.1", "localhost"),
            ("::1", "[::1]:8902"),
            ("::ffff:127.0.0.1", "LOCALHOST:1"),
        ] {
            assert_eq!(check(asker(peer, host, None, None), None), Ok(()), "{peer} {host}");
        }
        assert_eq!(check(asker("10.0.0.1", "10.0.0.2", None, None), None), Err(Refusal::Elsewhere));
        assert_eq!(check(asker("10.0.0.1", "10.0.0.2", None, Some("Bearer x")), None), Err(Refusal::Elsewhere));
    }

    #[test]
    fn a_page_of_others_in_a_browser_on_this_machine_may_not() {
        let evil = [
            asker("127.0.0.1", "evil.example:8902", None, None),
            asker("127.0.0.1", "127.0.0.1:8902", Some("http://evil.example"), None),
            asker("127.0.0.1", "127.0.0.1:8902", Some("null"), None),
            asker("127.0.0.1", "127.0.0.1.evil.example", None, None),
            Asker { host: None, ..asker("127.0.0.1", "", None, None) },
        ];
        for asker in evil {
            assert_eq!(check(asker, None), Err(Refusal::Foreign), "{asker:?}");
        }
        assert_eq!(check(asker("127.0.0.1", "127.0.0.1:8902", Some("http://127.0.0.1:8902"), None), None), Ok(()));
    }

    #[test]
    fn what_a_page_of_others_embeds_is_refused_with_and_without_a_token() {
        let own = asker("127.0.0.1", "127.0.0.1:8902", None, None);
        let known = asker("10.0.0.1", "any", None, Some("Basic OnNlY3JldA=="));
        assert_eq!(check(known, Some(b"secret")), Ok(()));
        for (site, expected) in [
            ("none", Ok(())),
            ("same-origin", Ok(())),
            ("same-site", Err(Refusal::Foreign)),
            ("cross-site", Err(Refusal::Foreign)),
            ("", Err(Refusal::Foreign)),
        ] {
            assert_eq!(check(Asker { site: Some(site), ..own }, None), expected, "{site}");
            assert_eq!(check(Asker { site: Some(site), ..known }, Some(b"secret")), expected, "{site}");
        }
        let embedded = Asker { site: Some("cross-site"), destination: Some("image"), ..own };
        assert_eq!(check(embedded.led(), None), Err(Refusal::Foreign));
        let link = Asker { destination: Some("document"), ..embedded };
        assert_eq!(check(link, None), Err(Refusal::Foreign));
        assert_eq!(check(link.led(), None), Ok(()));
    }

    #[test]
    fn with_a_token_everybody_may_who_has_it() {
        let token: Option<&[u8]> = Some(b"secret");
        assert_eq!(check(asker("10.0.0.1", "any", None, Some("Bearer secret")), token), Ok(()));
        assert_eq!(check(asker("10.0.0.1", "any", None, Some("bearer  secret ")), token), Ok(()));
        let basic = |pair: &str| format!("Basic {}", base64_simd::STANDARD.encode_to_string(pair));
        for pair in ["any:secret", ":secret"] {
            assert_eq!(check(asker("10.0.0.1", "any", None, Some(&basic(pair))), token), Ok(()), "{pair}");
        }
        for pair in ["secret", "secret:", "any:secret:", "any: secret", ""] {
            let refused = check(asker("10.0.0.1", "any", None, Some(&basic(pair))), token);
            assert_eq!(refused, Err(Refusal::Token), "{pair}");
        }
        for wrong in ["Bearer secre", "Bearer secret1", "Bearer ", "Basic secret", "secret", "Bearer SECRET"] {
            assert_eq!(check(asker("10.0.0.1", "any", None, Some(wrong)), token), Err(Refusal::Token), "{wrong}");
            assert_eq!(
                check(asker("127.0.0.1", "localhost", None, Some(wrong)), token),
                Err(Refusal::Token),
                "{wrong}"
            );
        }
        assert_eq!(check(asker("10.0.0.1", "any", None, None), token), Err(Refusal::Token));
        assert_eq!(check(asker("127.0.0.1", "localhost", None, None), token), Ok(()), "this machine");
    }
}

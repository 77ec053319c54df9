//! Destination URLs, taken apart. No message repeats the URL: it may hold a password.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::model::{Scheme, Url};

/// Takes an `http` or `https` URL apart, or says what is wrong and what to write.
pub fn parse(text: &str) -> Result<Url, String> {
    if text.trim() != text || text.is_empty() {
        return Err("the URL is empty or has spaces around it; write http://HOST:PORT/PATH".to_owned());
    }
    if text.contains("${") || text.contains("{{") {
        return Err("the URL has a placeholder, and nothing is filled in here; write the URL itself".to_owned());
    }
    if let Some(bad) = text.chars().find(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!(
            "the URL has a space or control character (U+{:04X}); write %{:02X}",
            u32::from(bad),
            u32::from(bad)
        ));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err("the URL has no scheme; write http://HOST:PORT/PATH".to_owned());
    };
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return Err("the URL's scheme is neither http nor https; write http://HOST:PORT/PATH".to_owned()),
    };
    if rest.contains('#') {
        return Err("the URL has a fragment (`#...`), which is never sent; take it out".to_owned());
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    if authority.contains('@') || (!path.is_empty() && authority.is_empty() && path.contains('@')) {
        return Err("the URL has a user name or password (`...@`), which is not sent; take it out, and set an `authorization` header under `headers` if the server wants one".to_owned());
    }
    let (host, port) = split_port(authority, scheme)?;
    let host = check_host(host)?;
    let path = check_path(path)?;
    Ok(Url { scheme, host, port, path })
}

fn split_port(authority: &str, scheme: Scheme) -> Result<(&str, u16), String> {
    // Colons inside the brackets of an IPv6 address are not the port's.
    let after_host = match authority.rfind(']') {
        Some(bracket) => bracket + 1,
        None if authority.matches(':').count() > 1 => {
            return Err(
                "the URL's host has several colons; write an IPv6 address in brackets: http://[::1]:8080/".to_owned()
            );
        }
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at_checked(after_host).unwrap_or((authority, ""));
    if port.is_empty() {
        return Ok((host, scheme.default_port()));
    }
    let digits = port.strip_prefix(':').unwrap_or_default();
    let number = if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse::<u16>().ok() } else { None };
    match number {
        Some(port) if port > 0 => Ok((host, port)),
        _ => Err("the URL's port is not a number from 1 to 65535; write http://HOST:PORT/PATH".to_owned()),
    }
}

fn check_host(host: &str) -> Result<String, String> {
    if host.is_empty() {
        return Err("the URL has no host; write http://HOST:PORT/PATH".to_owned());
    }
    if let Some(inside) = host.strip_prefix('[') {
        let address = inside.strip_suffix(']').and_then(|inside| inside.parse::<Ipv6Addr>().ok());
        return address.map(|address| address.to_string()).ok_or_else(|| {
            "the URL's host is no IPv6 address; write it in brackets, without a zone: http://[::1]:8080/".to_owned()
        });
    }
    if !host.is_ascii() {
        return Err("the URL's host has letters outside ASCII; write its ASCII form (`xn--...`)".to_owned());
    }
    let label_is_good = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    // One dot at the end is legal: the name is complete.
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.len() > 253 || !name.split('.').all(label_is_good) {
        return Err("the URL's host is no host name; write letters, digits, `-` and dots, or an IP address".to_owned());
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) && name.parse::<Ipv4Addr>().is_err() {
        return Err(
            "the URL's host looks like an IPv4 address and is none; write four numbers from 0 to 255".to_owned()
        );
    }
    Ok(host.to_ascii_lowercase())
}

/// Path and query: what RFC 3986 allows there, and nothing that would have to be escaped on the way out.
pub(super) fn check_path(path: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte);
    if let Some(bad) = path.bytes().find(|byte| !allowed(*byte)) {
        let shown = if bad.is_ascii() { format!("`{}`", char::from(bad)) } else { "a letter outside ASCII".to_owned() };
        return Err(format!("the URL's path has {shown}; write it percent-encoded (%{bad:02X})"));
    }
    let mut parts = path.split('%');
    parts.next();
    if parts.any(|part| !part.get(..2).is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))) {
        return Err("the URL's path has a `%` without two hexadecimal digits; write %25 for a percent sign".to_owned());
    }
    if path.starts_with('/') { Ok(path.to_owned()) } else { Ok(format!("/{path}")) }
}

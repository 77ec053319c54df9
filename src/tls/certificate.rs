//! What is read from a certificate itself: its names, its dates, its public key.

use std::net::IpAddr;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Longest name of a certificate in a message.
const MAX_SHOWN: usize = 120;

/// Seconds.
const DAY: i64 = 86_400;
/// With fewer days left a certificate is worth a warning.
pub const WARN_DAYS: i64 = 30;
/// With fewer days left it is worth an error line.
pub const ERROR_DAYS: i64 = 7;

/// How much a remark matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// There is time.
    Warning,
    /// Peers refuse the certificate, or soon will.
    Error,
}

/// One certificate, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its subject, as far as it can be shown.
    pub subject: String,
    /// Not valid before this time, in seconds since 1970.
    pub not_before: i64,
    /// Not valid after this time, in seconds since 1970.
    pub not_after: i64,
    /// Names of hosts and addresses that it is for.
    pub names: Names,
    /// Length of its encoding; what stands behind is not part of it.
    pub(super) length: usize,
    /// The public key, as SubjectPublicKeyInfo.
    pub(super) public_key: Vec<u8>,
    /// Subject and issuer, encoded.
    pub(super) subject_der: Vec<u8>,
    pub(super) issuer_der: Vec<u8>,
}

/// The names that a certificate is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Host names of the subject's alternative names.
    pub dns: Vec<String>,
    /// Addresses of the subject's alternative names.
    pub addresses: Vec<IpAddr>,
    /// Common names of the subject.
    pub common: Vec<String>,
}

impl Certificate {
    /// Takes a certificate in DER apart; `None`: it is none.
    pub fn read(der: &[u8]) -> Option<Certificate> {
        let (rest, parsed) = X509Certificate::from_der(der).ok()?;
        let body = &parsed.tbs_certificate;
        Some(Certificate {
            subject: shown(&body.subject.to_string()),
            not_before: body.validity.not_before.timestamp(),
            not_after: body.validity.not_after.timestamp(),
            names: names(&parsed),
            length: der.len().saturating_sub(rest.len()),
            public_key: body.subject_pki.raw.to_vec(),
            subject_der: body.subject.as_raw().to_vec(),
            issuer_der: body.issuer.as_raw().to_vec(),
        })
    }

    /// Whether it is its own issuer, by name.
    pub(super) fn is_self_issued(&self) -> bool {
        self.subject_der == self.issuer_der
    }

    /// What a user has to know about its dates at `now` (seconds since 1970), if anything.
    pub fn remark(&self, now: u64) -> Option<(Urgency, String)> {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let (subject, end) = (&self.subject, show_time(self.not_after));
        if now < self.not_before {
            let begin = show_time(self.not_before);
            let text = format!(
                "the certificate ({subject}) is not valid before {begin}, so that peers refuse it until then; look at the clock of this machine, or write another one"
            );
            return Some((Urgency::Error, text));
        }
        let days = self.not_after.saturating_sub(now).div_euclid(DAY);
        if now > self.not_after {
            let text = format!("the certificate ({subject}) expired at {end}: peers refuse it; write a new one");
            return Some((Urgency::Error, text));
        }
        if days >= WARN_DAYS {
            return None;
        }
        let urgency = if days < ERROR_DAYS { Urgency::Error } else { Urgency::Warning };
        Some((urgency, format!("the certificate ({subject}) expires in {days} days, at {end}; write a new one before")))
    }

    /// Whether `now` (seconds since 1970) is between its dates.
    pub fn is_valid_at(&self, now: u64) -> bool {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        (self.not_before..=self.not_after).contains(&now)
    }
}

fn names(parsed: &X509Certificate<'_>) -> Names {
    let mut names = Names::default();
    if let Ok(Some(alternatives)) = parsed.subject_alternative_name() {
        for name in &alternatives.value.general_names {
            match name {
                GeneralName::DNSName(name) => names.dns.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => names.addresses.extend(address(bytes)),
                _ => {}
            }
        }
    }
    names.common.extend(parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok()).map(str::to_owned));
    names
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    four.or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok())
}

/// Without what could break a line, and not too long.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push_str("...");
    }
    shown
}

/// A time as it is written in messages: UTC, to the second.
pub fn show_time(seconds: i64) -> String {
    // Howard Hinnant's civil_from_days.
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days.saturating_add(719_468);
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        // From `date -u -d @N`.
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (4_102_444_799, "2099-12-31 23:59:59 UTC"),
            (-1, "1969-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(show_time(seconds), text);
        }
    }
}

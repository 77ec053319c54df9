//! `destinations.NAME.health-check`.

use std::time::Duration;

use super::StatusSet;

/// How the URLs of a destination are probed, and what makes one unhealthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// Probes are sent; true unless set. Records that fail make a URL unhealthy in any case.
    pub enabled: bool,
    /// Between two probes of a URL; 5 s unless set.
    pub interval: Duration,
    /// From opening the connection to the end of the response; 1 s unless set.
    pub call_timeout: Duration,
    /// Good probes in a row that make an unhealthy URL healthy; 3 unless set.
    pub healthy_threshold: u32,
    /// Failed probes in a row, or records in a row that fail to connect or time out, that make a URL unhealthy; 3 unless
    /// set.
    pub unhealthy_threshold: u32,
    /// Path and query in place of the URL's own.
    pub path: Option<String>,
    /// GET unless set.
    pub method: ProbeMethod,
    /// Status codes with which a probe passes; `None`: all but 502, 503 and 504.
    pub success: Option<StatusSet>,
}

impl HealthCheck {
    /// Whether a probe that is answered with `status` passes.
    pub fn passes(&self, status: u16) -> bool {
        match &self.success {
            Some(success) => success.contains(status),
            None => !matches!(status, 502..=504),
        }
    }
}

impl Default for HealthCheck {
    fn default() -> HealthCheck {
        HealthCheck {
            enabled: true,
            interval: Duration::from_secs(5),
            call_timeout: Duration::from_secs(1),
            healthy_threshold: 3,
            unhealthy_threshold: 3,
            path: None,
            method: ProbeMethod::Get,
            success: None,
        }
    }
}

/// Method of a probe: one that changes nothing at the destination (RFC 9110 section 9.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeMethod {
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
    /// `OPTIONS`.
    Options,
}

impl ProbeMethod {
    /// As in a request line.
    pub const fn name(self) -> &'static str {
        match self {
            ProbeMethod::Get => "GET",
            ProbeMethod::Head => "HEAD",
            ProbeMethod::Options => "OPTIONS",
        }
    }
}

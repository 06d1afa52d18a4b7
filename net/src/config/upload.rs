//! Files that users leave with the server. XEP-0363

use std::time::Duration;

use proto::ext::Uploads;
use proto::jid::Domain;
use serde::{Deserialize, Serialize};

/// What is taken, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Upload {
    /// Whether any are taken, and handed out.
    pub enabled: bool,
    /// The domain of the service; `upload.` and the chat domain when it is left out.
    pub domain: Option<String>,
    /// Bytes of one file.
    pub file_bytes_max: u64,
    /// Bytes of all files of one user.
    pub user_bytes_max: u64,
    /// Bytes of what one user brings within 24 hours; 0 is no limit.
    pub day_bytes_max: u64,
    /// How long new files are kept; 0 is for ever.
    pub days: u16,
}

impl Default for Upload {
    fn default() -> Upload {
        Upload {
            enabled: true,
            domain: None,
            file_bytes_max: 64 * 1024 * 1024,
            user_bytes_max: 1024 * 1024 * 1024,
            day_bytes_max: 512 * 1024 * 1024,
            days: 90,
        }
    }
}

impl Upload {
    pub(super) fn check(&self, chat_domain: &str, others: &[&str]) -> Result<(), (&'static str, String)> {
        let domain = self.domain(chat_domain);
        Domain::parse(&domain).map_err(|_| ("domain", format!("\"{domain}\" is no domain name")))?;
        if others.iter().any(|other| other.eq_ignore_ascii_case(&domain)) {
            let message = "the service for files needs a domain of its own, such as upload.example.com".to_owned();
            return Err(("domain", message));
        }
        if self.file_bytes_max == 0 || self.file_bytes_max > FILE_BYTES_MAX {
            return Err(("file_bytes_max", format!("a file has between 1 and {FILE_BYTES_MAX} bytes")));
        }
        if self.user_bytes_max < self.file_bytes_max {
            return Err(("user_bytes_max", "must be at least file_bytes_max".to_owned()));
        }
        if self.day_bytes_max > 0 && self.day_bytes_max < self.file_bytes_max {
            return Err(("day_bytes_max", "must be at least file_bytes_max, or 0".to_owned()));
        }
        if self.days > DAYS_MAX {
            return Err(("days", format!("files are kept for at most {DAYS_MAX} days, or with 0 for ever")));
        }
        Ok(())
    }

    pub(super) fn domain(&self, chat_domain: &str) -> String {
        self.domain.clone().unwrap_or_else(|| format!("upload.{chat_domain}"))
    }

    /// The domain as addresses have it.
    fn normal_domain(&self, chat_domain: &str) -> String {
        let domain = self.domain(chat_domain);
        Domain::parse(&domain).map_or(domain, |domain| domain.to_bare().to_string())
    }

    /// The same as the extension has it, for files that are found at this endpoint.
    pub fn uploads(&self, chat_domain: &str, endpoint: &str) -> Option<Uploads> {
        self.enabled.then(|| Uploads {
            domain: self.normal_domain(chat_domain).into(),
            base: format!("{endpoint}{}", rest::upload::PREFIX).into(),
            file_bytes_max: self.file_bytes_max,
            user_bytes_max: self.user_bytes_max,
            day_bytes_max: if self.day_bytes_max == 0 { u64::MAX } else { self.day_bytes_max },
            kept_for: (self.days > 0).then(|| Duration::from_secs(u64::from(self.days) * 24 * 60 * 60)),
        })
    }
}

/// A tebibyte.
const FILE_BYTES_MAX: u64 = 1 << 40;
const DAYS_MAX: u16 = 3_650;

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use std::path::Path;

    #[test]
    fn what_cannot_be_is_said_where_it_is() {
        for (text, said) in [
            ("domain = \"localhost\"", "x:2: domain: the service for files needs a domain of its own"),
            ("domain = \"muc.localhost\"", "x:2: domain: the service for files needs a domain of its own"),
            ("file_bytes_max = 0", "x:2: file_bytes_max: a file has between 1 and 1099511627776 bytes"),
            ("user_bytes_max = 5", "x:2: user_bytes_max: must be at least file_bytes_max"),
            ("day_bytes_max = 5", "x:2: day_bytes_max: must be at least file_bytes_max"),
            ("days = 5000", "x:2: days: files are kept for at most 3650 days"),
            ("dais = 5", "x:2: unknown key `dais`, did you mean `days`?"),
        ] {
            let mistake = Config::parse(&format!("[upload]\n{text}"), Path::new("x")).expect_err(text).to_string();
            assert!(mistake.starts_with(said), "{mistake}");
        }
    }

    #[test]
    fn files_can_be_kept_for_ever_or_not_taken_at_all() {
        let with = |text: &str| {
            let config = Config::parse(&format!("[upload]\n{text}"), Path::new("x")).unwrap();
            config.upload.uploads("localhost", "https://localhost:8443")
        };
        assert_eq!(with("enabled = false"), None);
        let uploads = with("days = 0").unwrap();
        assert_eq!((&*uploads.base, uploads.kept_for), ("https://localhost:8443/upload/", None));
        assert_eq!((&*uploads.domain, uploads.day_bytes_max), ("upload.localhost", 512 * 1024 * 1024));
        let uploads = with("domain = \"Files.Example.COM\"\nday_bytes_max = 0").unwrap();
        assert_eq!((&*uploads.domain, uploads.day_bytes_max), ("files.example.com", u64::MAX));
    }
}

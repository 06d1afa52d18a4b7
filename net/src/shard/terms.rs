//! The settings that a shard works by; replaced as a whole on reload.

use std::fmt;

use proto::effect::Site;
use proto::jid::Domain;
use proto::stream::{self, Features};
use rest::settings::Settings;

use crate::files::Files;

/// What the operator has set, in the forms in which it is used.
pub struct Terms {
    /// For the owners.
    pub site: Site,
    /// For the API.
    pub settings: Settings,
    /// The chat domain.
    pub domain: Domain,
    /// Whether logins on 5222 need STARTTLS first.
    pub tls_required: bool,
    /// What is advertised of the extensions.
    pub features: Features,
    /// Where the files of users are, if there are any.
    pub files: Option<Files>,
    /// What decoys for unknown users are made from; kept with the data.
    pub decoy_secret: [u8; 32],
}

impl Terms {
    /// What holds for streams.
    pub fn stream(&self) -> stream::Terms<'_> {
        stream::Terms {
            domain: &self.domain,
            limits: &self.site.limits,
            starttls: true,
            tls_required: self.tls_required,
            plain_unencrypted: !self.tls_required,
            features: &self.features,
            decoy_secret: &self.decoy_secret,
        }
    }
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms").field("site", &self.site).finish_non_exhaustive()
    }
}

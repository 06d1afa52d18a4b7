//! What the server keeps in its data directory besides the store: a lock, secrets, a certificate, and where it can be found.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};

use crate::config;
use crate::conn::tls::Acceptor;
use crate::files::Files;
use crate::listen::Kind;

/// The directory, with the lock on it held.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// What cannot be had from the data directory.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The directory or a file in it.
    #[error(
        "{path} cannot be used ({cause}): give the user that runs the server write access to it, or set `data_dir`"
    )]
    Unusable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Another server has it.
    #[error(
        "{path} is in use by another server that is running: stop that one first, or give this one a `data_dir` of its own"
    )]
    Locked {
        /// Which.
        path: PathBuf,
    },
    /// The certificate or its key.
    #[error("{path} is no certificate or key that can be used: {cause}")]
    Certificate {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: String,
    },
}

impl DataDir {
    /// Makes the directory if there is none, and takes the lock.
    ///
    /// # Errors
    /// [`DataError::Unusable`], [`DataError::Locked`].
    pub fn open(path: &Path) -> Result<DataDir, DataError> {
        let unusable = |cause| DataError::Unusable { path: path.to_owned(), cause };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        let path = path.canonicalize().map_err(unusable)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join("lock"));
        let lock = lock.map_err(unusable)?;
        // SAFETY: a plain system call on a descriptor that is open.
        if unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            return Err(DataError::Locked { path });
        }
        Ok(DataDir { path, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A secret of 32 bytes that is made once.
    ///
    /// # Errors
    /// [`DataError::Unusable`].
    pub fn secret(&self, name: &str) -> Result<[u8; 32], DataError> {
        let path = self.path.join(name);
        let kept = fs::read(&path).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        if let Some(secret) = kept {
            return Ok(secret);
        }
        let secret = random();
        write_private(&path, &secret)?;
        Ok(secret)
    }

    /// The token that the command line proves itself with, made once, as text.
    ///
    /// # Errors
    /// [`DataError::Unusable`].
    pub fn admin_token(&self) -> Result<String, DataError> {
        let path = self.path.join(ADMIN_TOKEN);
        if let Ok(token) = fs::read_to_string(&path)
            && token.trim().len() >= 32
        {
            return Ok(token.trim().to_owned());
        }
        let token: String = random().iter().map(|byte| format!("{byte:02x}")).collect();
        write_private(&path, token.as_bytes())?;
        Ok(token)
    }

    /// The certificate of the configuration, or one that is made once.
    ///
    /// # Errors
    /// [`DataError::Certificate`], [`DataError::Unusable`].
    pub fn acceptor(&self, tls: &config::Tls, names: &[&str]) -> Result<Acceptor, DataError> {
        let (cert, key) = match (&tls.cert, &tls.key) {
            (Some(cert), Some(key)) => (cert.clone(), key.clone()),
            (_, _) => self.own_certificate(names)?,
        };
        let wrong = |path: &Path, cause: String| DataError::Certificate { path: path.to_owned(), cause };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&cert)
            .and_then(Iterator::collect)
            .map_err(|error| wrong(&cert, error.to_string()))?;
        if chain.is_empty() {
            return Err(wrong(&cert, "there is no certificate in it".to_owned()));
        }
        let private = PrivateKeyDer::from_pem_file(&key).map_err(|error| wrong(&key, error.to_string()))?;
        Acceptor::new(chain, private).map_err(|error| wrong(&cert, error.to_string()))
    }

    /// The self-signed certificate: made at the first start, so that clients that trust it go on doing so.
    fn own_certificate(&self, names: &[&str]) -> Result<(PathBuf, PathBuf), DataError> {
        let directory = self.path.join("tls");
        let (cert, key) = (directory.join("cert.pem"), directory.join("key.pem"));
        if cert.exists() && key.exists() {
            return Ok((cert, key));
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|cause| DataError::Unusable { path: directory.clone(), cause })?;
        let failed = |error: rcgen::Error| DataError::Certificate { path: cert.clone(), cause: error.to_string() };
        let pair = KeyPair::generate().map_err(failed)?;
        let local = ["localhost", "127.0.0.1", "::1"];
        let mut all: Vec<String> = names.iter().chain(&local).map(|&name| name.to_owned()).collect();
        all.sort();
        all.dedup();
        let mut params = CertificateParams::new(all).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or("localhost"));
        let made = params.self_signed(&pair).map_err(failed)?;
        write_private(&key, pair.serialize_pem().as_bytes())?;
        write_private(&cert, made.pem().as_bytes())?;
        Ok((cert, key))
    }

    /// The files that users leave; what an earlier run did not finish is removed.
    ///
    /// # Errors
    /// [`DataError::Unusable`].
    pub fn files(&self) -> Result<Files, DataError> {
        let path = self.path.join("uploads");
        Files::open(path.clone()).map_err(|cause| DataError::Unusable { path, cause })
    }

    /// Leaves word of where the server is, for the command line and for tests.
    ///
    /// # Errors
    /// [`DataError::Unusable`].
    pub fn write_run(&self, run: &Run) -> Result<(), DataError> {
        let text = serde_json::to_vec_pretty(run).expect("a description of numbers and texts can be written");
        write_private(&self.path.join(RUN), &text)
    }

    /// The server is gone.
    pub fn remove_run(&self) {
        // If it stays, whoever reads it finds that nobody answers.
        let _removed = fs::remove_file(self.path.join(RUN));
    }
}

/// A running server, as the command line finds it: `run.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its process.
    pub pid: u32,
    /// Its chat domain.
    pub domain: String,
    /// Where it listens.
    pub listen: Vec<RunAddress>,
    /// The first app.
    pub app_id: u32,
    /// Its key.
    pub auth_key: String,
    /// Its secret.
    pub auth_secret: String,
    /// The key that leads mobile clients to the endpoints.
    pub account_key: String,
    /// The certificate that it shows, when it made that itself.
    pub certificate: Option<PathBuf>,
}

/// One address of a [`Run`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunAddress {
    /// What is offered there.
    pub kind: Kind,
    /// Where.
    pub address: std::net::SocketAddr,
}

impl Run {
    /// What the server with this data directory has left.
    ///
    /// # Errors
    /// A sentence for whoever asked.
    pub fn read(data_dir: &Path) -> Result<Run, String> {
        let path = data_dir.join(RUN);
        let text = fs::read(&path).map_err(|_| {
            format!(
                "no server is running with the data directory {}: start one with `rookery`, or name its configuration with \
                 --config",
                data_dir.display()
            )
        })?;
        serde_json::from_slice(&text).map_err(|error| format!("{} cannot be read: {error}", path.display()))
    }

    /// The first address of a kind, as somebody on this machine reaches it.
    pub fn local(&self, kind: Kind) -> Option<std::net::SocketAddr> {
        let mut address = self.listen.iter().find(|listen| listen.kind == kind)?.address;
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        Some(address)
    }
}

/// The operator's token in a data directory.
///
/// # Errors
/// A sentence for whoever asked.
pub fn read_admin_token(data_dir: &Path) -> Result<String, String> {
    let path = data_dir.join(ADMIN_TOKEN);
    let token = fs::read_to_string(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    Ok(token.trim().to_owned())
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    let beside = path.with_extension("new");
    let write = || {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|cause| DataError::Unusable { path: path.to_owned(), cause })
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).expect("the system's random generator does not fail once it runs");
    bytes
}

const ADMIN_TOKEN: &str = "admin.token";
const RUN: &str = "run.json";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_made_once_stays_and_is_private() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("data");
        let (secret, token) = {
            let data = DataDir::open(&path).unwrap();
            assert!(matches!(DataDir::open(&path), Err(DataError::Locked { .. })), "a second server is kept out");
            data.acceptor(&config::Tls::default(), &["localhost"]).unwrap();
            (data.secret("secret").unwrap(), data.admin_token().unwrap())
        };
        let certificate = fs::read(path.join("tls/cert.pem")).unwrap();
        let data = DataDir::open(&path).unwrap();
        data.acceptor(&config::Tls::default(), &["localhost"]).unwrap();
        assert_eq!((data.secret("secret").unwrap(), data.admin_token().unwrap()), (secret, token));
        assert_eq!(fs::read(path.join("tls/cert.pem")).unwrap(), certificate);
        for name in ["secret", "admin.token", "tls/key.pem", "lock"] {
            let mode = fs::metadata(path.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{name}");
        }
    }

    #[test]
    fn a_certificate_that_is_none_says_which_file() {
        let home = tempfile::tempdir().unwrap();
        let data = DataDir::open(home.path()).unwrap();
        let wrong = home.path().join("wrong.pem");
        fs::write(&wrong, "hello").unwrap();
        let tls = config::Tls { cert: Some(wrong.clone()), key: Some(wrong), required_before_auth: true };
        let said = data.acceptor(&tls, &["localhost"]).unwrap_err().to_string();
        assert!(said.contains("wrong.pem"), "{said}");
    }

    #[test]
    fn a_directory_that_cannot_be_made_says_what_to_do() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        let said = DataDir::open(&file.join("data")).unwrap_err().to_string();
        assert!(said.contains("write access") && said.contains("data_dir"), "{said}");
    }
}

//! A whole server in one process: started, reloaded and stopped from here, by the binary and by tests.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use proto::effect::{Archiving, Site};
use proto::ext;
use proto::jid::Domain;
use proto::model::dialog::{OccupantIds, Pairs};
use proto::model::directory::{self, AppKeys, AppRecord, SERVER, apps};
use proto::model::{self, dialog, jobs};
use proto::owner::Owner;
use proto::row::{Found, Key, Range, Reads, Rows, Table};
use rest::settings::{AdminToken, Settings};
use store::{Rocks, Store, StoreError, Tuning};

use crate::clock::Clock;
use crate::config::{ComponentSettings, Config, ServiceSettings};
use crate::conn::tls::Acceptor;
use crate::data_dir::{DataDir, DataError, Run, RunAddress};
use crate::files::Files;
use crate::link_local::{Bridge, LinkError, Setup};
use crate::listen::{self, Addresses, BindError, Kind};
use crate::mail::Mailer;
use crate::metrics::{Gauges, Pages};
use crate::pool::Pool;
use crate::preflight::{self, Obstacle};
use crate::rt::{self, Address, Mailbox, Place};
use crate::run::desk::{Answers, Entropy};
use crate::run::{Guests, House, Plan, Post, ServerDesk, run};
use crate::shard::{Places, Shard, Terms};

/// A running server. Dropping it stops it.
pub struct Server {
    config: Mutex<Config>,
    data: DataDir,
    addresses: Addresses,
    app: AppRecord,
    acceptor: Arc<ArcSwap<Acceptor>>,
    peers: Arc<[Address<Post>]>,
    pages: Arc<Pages>,
    store: Arc<Store>,
    files: Files,
    link: Option<Bridge>,
    pool: Option<Pool>,
    files_pool: Option<Pool>,
    shards: Vec<JoinHandle<()>>,
    is_new: bool,
}

/// Why a server does not start, or does not take new settings.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The machine does not allow what is needed.
    #[error("{0}")]
    Preflight(#[from] Obstacle),
    /// The data directory or something in it.
    #[error("{0}")]
    Data(#[from] DataError),
    /// The store.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// An address.
    #[error("{0}")]
    Bind(#[from] BindError),
    /// The bridge to the local network.
    #[error("{0}")]
    Link(#[from] LinkError),
    /// A thread.
    #[error("a thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
    /// A shard did not come up.
    #[error("a shard did not start; the log says why")]
    Shard,
    /// The first app was not made.
    #[error("the first app cannot be made; the log says why")]
    NoApp,
    /// A row that is needed to start is damaged.
    #[error("a stored row cannot be read: {0}")]
    Unreadable(#[from] proto::row::Unreadable),
    /// A setting that only a restart can change.
    #[error("`{0}` can only be changed by a restart; the rest of the new settings is in force")]
    NeedsRestart(&'static str),
}

impl Server {
    /// Starts everything and returns once connections are served.
    ///
    /// # Errors
    /// The first thing that stands in the way, each with what to do about it.
    pub fn start(config: Config) -> Result<Server, ServerError> {
        preflight::check()?;
        let data = DataDir::open(&config.data_dir)?;
        let files = data.files()?;
        let facts =
            Facts { decoy_secret: data.secret("secret")?, admin_token: data.admin_token()?, files: files.clone() };
        let muc_domain = config.muc_domain();
        let names = [&config.domain[..], &muc_domain];
        let acceptor = Arc::new(ArcSwap::from_pointee(data.acceptor(&config.tls, &names)?));
        let shards = config.shards.count.unwrap_or_else(processors);
        let (addresses, sockets) = listen::bind(&config.listens(), shards)?;
        let tuning = Tuning::default();
        let rocks = Rocks::open(&data.path().join("store"), &tables(), &tuning)?;
        let store = Arc::new(Store::start(Arc::new(rocks), READERS)?);
        let pool = Pool::start("pool", usize::from(processors()).clamp(1, POOL_THREADS_MAX))?;
        let files_pool = Pool::start("files", FILES_THREADS)?;

        let mailboxes = (0..shards).map(|_| Mailbox::new()).collect::<Result<Vec<Mailbox<Post>>, std::io::Error>>()?;
        let peers: Arc<[Address<Post>]> = mailboxes.iter().map(Mailbox::address).collect();
        let gauges: Arc<[Gauges]> = (0..shards).map(|_| Gauges::default()).collect();
        let pages = Arc::new(Pages::new(Arc::clone(&gauges), Arc::clone(&store)));
        let mailer = Arc::new(Mailer::new(&config.mail, &config.domain, data.path().join("mail")));
        let left = preflight::descriptors_left(shards, tuning.open_files_max)?;
        files.limit(left / FILES_SHARE);
        let house = House {
            clock: Clock::start(),
            acceptor: Arc::clone(&acceptor),
            peers: Arc::clone(&peers),
            gauges: Arc::clone(&gauges),
            guests: Guests::up_to(left - left / FILES_SHARE),
        };
        let terms = Arc::new(facts.terms(&config, &addresses));
        let link = bridge(&config, &terms, &peers)?;
        let mut server = Server {
            config: Mutex::new(config),
            data,
            addresses,
            app: placeholder(),
            acceptor,
            peers,
            pages,
            store,
            files,
            link,
            pool: Some(pool),
            files_pool: Some(files_pool),
            shards: Vec::new(),
            is_new: false,
        };
        let (ready, started) = mpsc::channel();
        for ((shard, mailbox), sockets) in (0..shards).zip(mailboxes).zip(sockets) {
            let desk = ServerDesk {
                store: server.store.client(Arc::new(Answers(mailbox.address()))),
                pool: server.pool.as_ref().map(Pool::hand).ok_or(ServerError::Shard)?,
                files: server.files_pool.as_ref().map(Pool::hand).ok_or(ServerError::Shard)?,
                address: mailbox.address(),
                gauges: Arc::clone(&gauges),
                mailer: Arc::clone(&mailer),
                link: server.link.as_ref().map(Bridge::line),
                pages: Arc::clone(&server.pages),
                entropy: Entropy::new(),
            };
            let (terms, ready) = (Arc::clone(&terms), ready.clone());
            let make = Box::new(move || {
                let shard = Shard::new(shard, Places::new(shards), terms, desk);
                // The other end waits for all shards; if it is gone, the start has failed elsewhere.
                let _told = ready.send(());
                shard
            });
            let place = server.place(shard);
            let plan = Plan { shard, mailbox, sockets, house: house.clone(), make };
            server.shards.push(rt::start(&format!("shard-{shard}"), place, move || run(plan))?);
        }
        drop(ready);
        for _ in 0..shards {
            // A shard that cannot start drops its end.
            started.recv().map_err(|_| ServerError::Shard)?;
        }
        server.settle_in()?;
        Ok(server)
    }

    /// What is done once the shards are there: the first app, and jobs of the last run.
    fn settle_in(&mut self) -> Result<(), ServerError> {
        let repeated = self.repeat_jobs()?;
        if repeated > 0 {
            tracing::info!(jobs = repeated, "work of the last run is taken up again");
        }
        self.announce_dialogs()?;
        let apps = self.apps()?;
        self.is_new = apps.is_empty();
        self.app = match apps.into_iter().next() {
            Some(app) => app,
            None => self.first_app()?,
        };
        self.data.write_run(&self.run_file())?;
        self.pages.set_serving(true);
        Ok(())
    }

    /// Makes the app that a new server begins with.
    fn first_app(&self) -> Result<AppRecord, ServerError> {
        let keys = AppKeys::draw(&mut Entropy::new());
        let command = directory::Command::CreateApp { name: FIRST_APP.to_owned(), keys };
        let owner = Owner::App(SERVER);
        let shard = Places::new(self.shard_count()).of(&owner);
        self.peers[usize::from(shard)].post(Post::Command(owner, Box::new(command.into())));
        let deadline = Instant::now() + FIRST_APP_TIME_MAX;
        while Instant::now() < deadline {
            if let Some(app) = self.apps()?.into_iter().next() {
                return Ok(app);
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err(ServerError::NoApp)
    }

    fn apps(&self) -> Result<Vec<AppRecord>, ServerError> {
        let page = Rows::new(self.store.backend().read(&apps::read_all())?).page();
        Ok(page.iter().map(|(_, row)| AppRecord::read(row)).collect::<Result<_, _>>()?)
    }

    /// Gives every unconfirmed job to a shard, which sends it once more.
    fn repeat_jobs(&self) -> Result<usize, ServerError> {
        let places = Places::new(self.shard_count());
        let mut start = Key::from_bytes(&[]);
        let mut repeated = 0;
        loop {
            let range = Range { start: start.clone(), end: Key::from_bytes(&[0xff]) };
            let found = self.store.backend().read(&Reads::scan(&jobs::JOBS, range, JOBS_PAGE_ROWS))?;
            let Some(Found::Page(page)) = found.into_iter().next() else { return Ok(repeated) };
            for (_, row) in &page {
                let job = jobs::read(row)?;
                let shard = places.of(&job.from);
                self.peers[usize::from(shard)].post(Post::Job(Box::new(job)));
            }
            repeated += page.len();
            match page.last() {
                Some((last, _)) if page.len() == JOBS_PAGE_ROWS => start = last.clone().u8(0),
                Some(_) | None => return Ok(repeated),
            }
        }
    }

    /// Has the dialogs that were busy at the last stop tell their members' lists once more where they stand.
    fn announce_dialogs(&self) -> Result<(), ServerError> {
        let places = Places::new(self.shard_count());
        let mut start = Key::from_bytes(&[]);
        loop {
            let range = Range { start: start.clone(), end: Key::from_bytes(&[0xff]) };
            let found = self.store.backend().read(&Reads::scan(&dialog::DIRTY, range, JOBS_PAGE_ROWS))?;
            let Some(Found::Page(page)) = found.into_iter().next() else { return Ok(()) };
            for (key, _) in &page {
                let Some(owner) = dialog::owner_of(key) else { continue };
                let command = dialog::Command::Announce.into();
                self.peers[usize::from(places.of(&owner))].post(Post::Command(owner, Box::new(command)));
            }
            match page.last() {
                Some((last, _)) if page.len() == JOBS_PAGE_ROWS => start = last.clone().u8(0),
                Some(_) | None => return Ok(()),
            }
        }
    }

    fn place(&self, shard: u16) -> Place {
        let pin = self.config.lock().expect("nothing panics with the configuration").shards.pin;
        let allowed = preflight::allowed_processors();
        match allowed.get(usize::from(shard)) {
            Some(&processor) if pin.unwrap_or(allowed.len() > 2) => Place::Pinned(processor),
            Some(_) | None => Place::Anywhere,
        }
    }

    fn shard_count(&self) -> u16 {
        u16::try_from(self.peers.len()).expect("there are at most as many shards as partitions")
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The first app.
    pub fn app(&self) -> &AppRecord {
        &self.app
    }

    /// Whether this is the first start with this data directory.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.data.path().to_owned()
    }

    /// What `run.json` says.
    pub fn run_file(&self) -> Run {
        let config = self.config.lock().expect("nothing panics with the configuration");
        let own = config.tls.cert.is_none();
        Run {
            pid: std::process::id(),
            domain: config.domain.clone(),
            listen: self.addresses.0.iter().map(|&(kind, address)| RunAddress { kind, address }).collect(),
            app_id: self.app.id.0,
            auth_key: self.app.keys.auth_key.clone(),
            auth_secret: self.app.keys.auth_secret.clone(),
            account_key: self.app.keys.account_key.clone(),
            certificate: own.then(|| self.data.path().join("tls/cert.pem")),
        }
    }

    /// Puts new settings in force: certificates, limits, and what the API says.
    ///
    /// # Errors
    /// A certificate that cannot be used, in which case nothing changes; or [`ServerError::NeedsRestart`], when all that could
    /// be changed was.
    pub fn reload(&self, new: Config) -> Result<(), ServerError> {
        let mut config = self.config.lock().expect("nothing panics with the configuration");
        let muc_domain = config.muc_domain();
        let acceptor = self.data.acceptor(&new.tls, &[&config.domain, &muc_domain])?;
        let facts = Facts {
            decoy_secret: self.data.secret("secret")?,
            admin_token: self.data.admin_token()?,
            files: self.files.clone(),
        };
        let fixed = [
            ("domain", new.domain == config.domain),
            ("muc_domain", new.muc_domain() == config.muc_domain()),
            ("data_dir", new.data_dir == config.data_dir),
            ("listen", new.listen == config.listen),
            ("shards", new.shards == config.shards),
            ("link_local", new.link_local == config.link_local),
            ("mail", new.mail == config.mail),
            ("components", new.components == config.components),
        ];
        let kept = Config {
            domain: config.domain.clone(),
            muc_domain: config.muc_domain.clone(),
            data_dir: config.data_dir.clone(),
            listen: config.listen.clone(),
            shards: config.shards.clone(),
            link_local: config.link_local.clone(),
            mail: config.mail.clone(),
            components: config.components.clone(),
            ..new
        };
        let terms = Arc::new(facts.terms(&kept, &self.addresses));
        self.acceptor.store(Arc::new(acceptor));
        for peer in &*self.peers {
            peer.post(Post::Terms(Arc::clone(&terms)));
        }
        *config = kept;
        match fixed.into_iter().find(|(_, same)| !same) {
            Some((key, _)) => Err(ServerError::NeedsRestart(key)),
            None => Ok(()),
        }
    }

    /// Lets nobody in any more, ends every stream, and stops once everything is on disk.
    ///
    /// # Errors
    /// What the store could not finish; nothing acknowledged is at risk.
    pub fn stop(mut self) -> Result<(), ServerError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), ServerError> {
        if self.pool.is_none() {
            return Ok(());
        }
        self.pages.set_serving(false);
        // While users are still there to be said goodbye for.
        self.link = None;
        for peer in &*self.peers {
            peer.post(Post::Stop);
        }
        let mut panicked = false;
        for shard in self.shards.drain(..) {
            panicked |= shard.join().is_err();
        }
        self.pool = None;
        self.files_pool = None;
        self.data.remove_run();
        self.store.flush_and_stop()?;
        if panicked { Err(ServerError::Shard) } else { Ok(()) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!(%error, "the server did not stop as it should");
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// What is kept with the data and goes into the terms.
struct Facts {
    decoy_secret: [u8; 32],
    admin_token: String,
    files: Files,
}

impl Facts {
    fn terms(self, config: &Config, addresses: &Addresses) -> Terms {
        let domain = Domain::parse(&config.domain).expect("the configuration was checked");
        let normal = domain.to_bare().to_string();
        let endpoint = config.api.endpoint.clone().unwrap_or_else(|| endpoint(&normal, addresses));
        let turn = config.api.turn_server.clone().unwrap_or_else(|| normal.clone());
        let site = Site {
            domain: normal.as_str().into(),
            muc_domain: config.muc_domain().into(),
            limits: config.limits.limits(),
            version: env!("CARGO_PKG_VERSION"),
            services: config.services.iter().map(ServiceSettings::service).collect(),
            contacts: Arc::new(config.contacts.contacts()),
            archiving: Archiving { usual: config.archive.users, rooms: config.archive.rooms },
            pushed: config.push.included(),
            uploads: config.upload.uploads(&normal, &endpoint).map(Arc::new),
            components: config.components.iter().map(ComponentSettings::component).collect(),
            link: config.link_local.link(&normal).map(Arc::new),
            pairs: Pairs::of(&self.decoy_secret),
            chain: &ext::CHAIN,
            resume_location: config.resume_location.as_deref().map(Into::into),
            occupants: OccupantIds::of(&self.decoy_secret),
            admins: config.admins().expect("the configuration was checked").into(),
        };
        Terms {
            features: ext::stream_features(&site),
            site,
            settings: Settings {
                api_endpoint: endpoint,
                chat_endpoint: normal,
                turnserver_endpoint: turn,
                s3_bucket_name: config.api.s3_bucket.clone(),
                admin_token: AdminToken::new(self.admin_token),
            },
            domain,
            tls_required: config.tls.required_before_auth,
            // Also when no more are taken: those that are there still go with their users and days.
            files: Some(self.files),
            decoy_secret: self.decoy_secret,
        }
    }
}

/// Starts the bridge to the local network, if the operator wants one.
fn bridge(config: &Config, terms: &Terms, peers: &Arc<[Address<Post>]>) -> Result<Option<Bridge>, LinkError> {
    let Some(link) = &terms.site.link else { return Ok(None) };
    let shards = u16::try_from(peers.len()).expect("there are at most as many shards as partitions");
    let bridge = Bridge::start(Setup {
        domain: Arc::clone(&link.domain),
        chat_domain: Arc::clone(&terms.site.domain),
        machine: config.link_local.machine(),
        listen: config.link_local.listen,
        interfaces: config.link_local.interfaces.clone(),
        peers: Arc::clone(peers),
        places: Places::new(shards),
    })?;
    tracing::info!(address = %bridge.address(), "users who want it are on the local network");
    Ok(Some(bridge))
}

/// Where clients find the API, as far as the server can know.
fn endpoint(domain: &str, addresses: &Addresses) -> String {
    match (addresses.of(Kind::Https), addresses.of(Kind::Http)) {
        (Some(https), _) => format!("https://{domain}:{}", https.port()),
        (None, Some(http)) => format!("http://{domain}:{}", http.port()),
        (None, None) => format!("https://{domain}"),
    }
}

/// All tables there are.
pub fn tables() -> Vec<&'static Table> {
    let mut names = HashSet::new();
    model::TABLES.iter().copied().chain(ext::tables()).filter(|table| names.insert(table.name())).collect()
}

/// Stands in until the first app is known; nobody sees it.
fn placeholder() -> AppRecord {
    let keys = AppKeys { auth_key: String::new(), auth_secret: String::new(), account_key: String::new() };
    AppRecord { id: SERVER, name: String::new(), keys, created_at: proto::time::Timestamp::default() }
}

fn processors() -> u16 {
    let count = thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(count).unwrap_or(u16::MAX)
}

const FIRST_APP: &str = "First app";
const FIRST_APP_TIME_MAX: Duration = Duration::from_secs(10);
const READERS: usize = 2;
const POOL_THREADS_MAX: usize = 8;
/// Threads that wait for the disk on behalf of those who bring and fetch files.
const FILES_THREADS: usize = 4;
/// One in so many of the descriptors that clients may have is for files that they bring and fetch.
const FILES_SHARE: usize = 8;
const JOBS_PAGE_ROWS: usize = 1_000;

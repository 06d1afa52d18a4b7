//! What a shard does when its own code fails: one turn is lost, and nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use proto::effect::{Random, Site};
use proto::jid::Domain;
use proto::jid::user::AppId;
use proto::model::directory;
use proto::owner::Owner;
use proto::row::{Batch, Found, Reads};
use proto::time::{Now, Timestamp};
use rest::flow::Mail;
use rest::http::Response;
use rest::settings::Settings;
use store::{Backend, Memory, StoreError};

use super::{Desk, Places, Shard, Task, Terms, Ticket};

/// A desk over rows in memory, whose chance can fail.
struct FragileDesk {
    rows: Memory,
    commits: Vec<Ticket>,
    chance: FragileChance,
}

struct FragileChance {
    broken: bool,
    drawn: u8,
}

impl Random for FragileChance {
    fn fill(&mut self, bytes: &mut [u8]) {
        assert!(!self.broken, "a fault for the test");
        self.drawn = self.drawn.wrapping_add(1);
        bytes.fill(self.drawn);
    }
}

impl Desk for FragileDesk {
    fn cached(&mut self, reads: &Reads) -> Option<Result<Vec<Found>, StoreError>> {
        Some(self.rows.read(reads))
    }

    fn read(&mut self, _: Ticket, _: Reads) {
        unreachable!("everything is in memory");
    }

    fn commit(&mut self, ticket: Ticket, batch: Batch) {
        self.rows.commit(&[batch]).expect("memory takes writes");
        self.commits.push(ticket);
    }

    fn compute(&mut self, _: Ticket, _: Task) {}

    fn mail(&mut self, _: Mail) {}

    fn page(&mut self, _: &str) -> Option<Response> {
        None
    }

    fn random(&mut self) -> &mut dyn Random {
        // Handlers draw from this in the middle of their turn.
        &mut self.chance
    }

    fn is_congested(&self) -> bool {
        false
    }
}

fn shard() -> Shard<FragileDesk> {
    let site = Site::of("localhost");
    let terms = Terms {
        features: proto::ext::stream_features(&site),
        site,
        settings: Settings {
            api_endpoint: "https://localhost".to_owned(),
            chat_endpoint: "localhost".to_owned(),
            turnserver_endpoint: "localhost".to_owned(),
            s3_bucket_name: "rookery".to_owned(),
            admin_token: None,
        },
        domain: Domain::parse("localhost").expect("a domain"),
        tls_required: true,
        decoy_secret: [7; 32],
    };
    let tables: Vec<_> = proto::model::TABLES.iter().copied().chain(proto::ext::tables()).collect();
    let chance = FragileChance { broken: false, drawn: 0 };
    let desk = FragileDesk { rows: Memory::new(&tables), commits: Vec::new(), chance };
    Shard::new(0, Places::new(1), Arc::new(terms), desk)
}

#[test]
fn an_owner_whose_turn_panics_begins_again_from_its_rows() {
    let mut shard = shard();
    let now = Now { stamp: Timestamp::from_secs(1_700_000_000), ..Now::default() };
    let server = Owner::App(directory::SERVER);
    let create = |name: &str, number: u8| {
        let mut chance = FragileChance { broken: false, drawn: number };
        let keys = directory::AppKeys::draw(&mut chance);
        directory::Command::CreateApp { name: name.to_owned(), keys }.into()
    };
    shard.command(now, server, create("first", 10));
    assert_eq!(shard.desk().commits.len(), 1);

    // The state is out and effects are half made when the fault comes.
    let lost = catch_unwind(AssertUnwindSafe(|| {
        let slot = shard.owners.get_mut(&server).expect("it is loaded");
        slot.state = None;
        slot.held.clear();
        let mut stray = Batch::default();
        stray.delete(&proto::model::jobs::JOBS, proto::row::Key::of(&Owner::App(AppId(9))));
        shard.effects.write(stray);
        panic!("a fault for the test");
    }));
    assert!(lost.is_err());

    shard.command(now, server, create("second", 20));
    let commits = shard.desk().commits.len();
    assert_eq!(commits, 2, "the second app is written, and what the broken turn had asked for is not");
    let found = shard.desk().rows.read(&directory::apps::read_all()).expect("rows");
    let mut rows = proto::row::Rows::new(found);
    assert_eq!(rows.page().len(), 2);
}

//! Every bound of the server, with its unit last.
//!
//! [`Limits`] holds what an operator may set and SIGHUP reloads; the constants are what the code's own sizes rest on.

use std::time::Duration;

/// The shard's shared read buffer: one TLS record and what a full socket buffer brings with it.
pub const READ_BUFFER_BYTES: usize = 64 * 1024;
/// A localpart, domain or resource. RFC 7622 §3.1.
pub const JID_PART_BYTES_MAX: usize = 1023;
/// Roster items one account may hold.
pub const ROSTER_ITEMS_MAX: usize = 3_000;
/// Groups of one roster item.
pub const ROSTER_GROUPS_MAX: usize = 64;
/// Bytes of a roster name or group.
pub const ROSTER_TEXT_BYTES_MAX: usize = 1023;
/// Stanzas held back for an inactive client; the last of them sets all free. XEP-0352.
pub const HELD_STANZAS_MAX: usize = 50;
/// Bytes held back for an inactive client.
pub const HELD_BYTES_MAX: usize = 64 * 1024;
/// Connected resources of one account.
pub const RESOURCES_MAX: usize = 32;
/// Iqs of one account that wait for others.
pub const INQUIRIES_MAX: usize = 16;
/// Accounts that one command of an administrator is about.
pub const COMMAND_ACCOUNTS_MAX: usize = 100;
/// Users on one page of a list that an administrator asks for.
pub const COMMAND_PAGE_USERS_MAX: usize = 200;
/// How long an administrator has for a command, from its first form.
pub const COMMAND_TIME_MAX: Duration = Duration::from_secs(30 * 60);
/// Bytes of an announcement: each user who is online gets a copy.
pub const ANNOUNCEMENT_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a user's vCard, picture included.
pub const VCARD_BYTES_MAX: usize = 128 * 1024;
/// Things that one user's clients keep in private storage.
pub const PRIVATE_ITEMS_MAX: usize = 128;
/// Bytes of all that one user's clients keep in private storage.
pub const PRIVATE_BYTES_MAX: usize = 256 * 1024;
/// Bytes of the name and the namespace of a thing in private storage.
pub const PRIVATE_NAME_BYTES_MAX: usize = 512;
/// Nodes of one account. XEP-0163
pub const PEP_NODES_MAX: usize = 256;
/// Items of one node: what `max` means.
pub const PEP_ITEMS_MAX: usize = 1_000;
/// Bytes of one item's payload: a picture in Base64.
pub const PEP_ITEM_BYTES_MAX: usize = 192 * 1024;
/// Bytes of all items of one node; one answer may have to hold them.
pub const PEP_NODE_BYTES_MAX: u64 = 1024 * 1024;
/// Bytes of all items of one account.
pub const PEP_BYTES_MAX: u64 = 4 * 1024 * 1024;
const _: () = assert!(PEP_ITEM_BYTES_MAX as u64 <= PEP_NODE_BYTES_MAX && PEP_NODE_BYTES_MAX <= PEP_BYTES_MAX);
// A picture on a card is published.
const _: () = assert!(VCARD_BYTES_MAX <= PEP_ITEM_BYTES_MAX);
/// Bytes of the name of a node or the id of an item.
pub const PEP_NAME_BYTES_MAX: usize = 1_023;
/// Bytes of a node's title or description.
pub const PEP_TEXT_BYTES_MAX: usize = 1_023;
/// Those who have subscribed to one node by name.
pub const PEP_SUBSCRIBERS_MAX: usize = 256;
/// Items that one request can name.
pub const PEP_REQUEST_ITEMS_MAX: usize = 100;
/// Bytes of the names of the nodes that one client wants to hear of; of more it hears nothing.
pub const INTEREST_BYTES_MAX: usize = 4 * 1024;
/// Bytes of what a client calls its capabilities. XEP-0115
pub const CAPS_BYTES_MAX: usize = 512;
/// Capabilities that an account knows of its user's clients.
pub const CAPS_KNOWN_MAX: usize = 16;
/// Privacy lists of one user. XEP-0016.
pub const PRIVACY_LISTS_MAX: usize = 32;
/// Items of all privacy lists of one user.
pub const PRIVACY_ITEMS_MAX: usize = 4_000;
/// Bytes of the addresses and groups in all privacy lists of one user.
pub const PRIVACY_BYTES_MAX: usize = 256 * 1024;
/// Bytes of the name of a privacy list.
pub const PRIVACY_NAME_BYTES_MAX: usize = 512;
/// Live REST sessions of one user; a new one ends the one that was not used for the longest time.
pub const TOKENS_PER_USER_MAX: usize = 64;
/// Tokens that one client has for logging in: the one it uses, and the one that is to take its place. XEP-0484 §6.1
pub const FAST_TOKENS_PER_CLIENT_MAX: usize = 2;
/// Clients of one user that have such tokens; one more takes the place of the one whose token ends first.
pub const FAST_CLIENTS_MAX: usize = 64;
/// How long such a token is good.
pub const FAST_TOKEN_TIME_MAX: Duration = Duration::from_secs(21 * 24 * 3600);
/// A token that is used when it is older than this is replaced.
pub const FAST_TOKEN_ROTATION_TIME: Duration = Duration::from_secs(24 * 3600);
/// Offline stanzas kept for one account.
pub const OFFLINE_STANZAS_MAX: usize = 10_000;
/// Messages that came back from one of a user's resources, or may come back from one, of which an account remembers what became.
pub const REISSUED_MAX: usize = 4_096;
/// Directed presences one session may have outstanding.
pub const DIRECTED_MAX: usize = 1_000;
/// Bytes of offline stanzas kept for one account.
pub const OFFLINE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Offline stanzas read in one step.
pub const OFFLINE_PAGE_ROWS: usize = 200;
/// Offline stanzas handed to a connection before it has to take them, in bytes.
pub const OFFLINE_HANDOVER_BYTES: usize = 256 * 1024;
/// Users in one dialog.
pub const OCCUPANTS_MAX: usize = 20_000;
/// Members of a dialog whose lists are reordered with each message; in larger ones that is worked out when a list is read.
pub const BUMP_MEMBERS_MAX: usize = 300;
/// Attachments of one message that are recorded; more are only delivered.
pub const ATTACHMENTS_MAX: usize = 100;
/// Custom parameters of one message that are recorded; more are only delivered.
pub const CUSTOM_FIELDS_MAX: usize = 500;
/// Text of the last message that lists of dialogs show.
pub const LAST_MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// Messages that one command can name.
pub const COMMAND_MESSAGES_MAX: usize = 1_000;
/// Bytes of a dialog's name.
pub const DIALOG_NAME_BYTES_MAX: usize = 1_024;
/// Users that one order in a room can name.
pub const ROOM_ORDER_ITEMS_MAX: usize = 100;
/// Sessions outside a room of which it is remembered that they have asked about it.
pub const ROOM_CURIOUS_MAX: usize = 64;
/// Sessions in one room.
pub const ROOM_SEATS_MAX: usize = 50_000;
/// What a session in a room says about itself; more is not shown.
pub const ROOM_PRESENCE_BYTES_MAX: usize = 4 * 1024;
/// Rounds of reading for what a client is told of the user's archive as it comes in. Whoever has more to read finds out by asking.
pub const ARCHIVE_ENDS_ROUNDS_MAX: usize = 12;
/// Messages of its history that a room hands to one who enters and does not say how many he wants.
pub const ROOM_HISTORY_STANZAS: usize = 20;
/// Messages of its history that a room hands to one who enters, at most.
pub const ROOM_HISTORY_STANZAS_MAX: usize = 200;
/// Messages of an archive that one answer holds when the client does not say how many it wants. XEP-0313 §5.1.
pub const ARCHIVE_PAGE_STANZAS: usize = 50;
/// Messages of an archive that one answer holds at most.
pub const ARCHIVE_PAGE_STANZAS_MAX: usize = 100;
/// Bytes of messages after which a page of an archive ends early; a single message may be larger.
pub const ARCHIVE_PAGE_BYTES_MAX: usize = 256 * 1024;
/// Messages that one query of an archive can name.
pub const ARCHIVE_IDS_MAX: usize = 100;
/// Private dialogs that one query of a user's whole archive goes through.
pub const ARCHIVE_DIALOGS_MAX: usize = 10_000;
/// Rows that one query of an archive looks at.
pub const ARCHIVE_ROWS_MAX: usize = 100_000;
/// Bytes of the name that a client gives its query; each result repeats it.
pub const ARCHIVE_QUERY_ID_BYTES_MAX: usize = 256;
/// Bytes of all copies of a stanza for several addresses. XEP-0033.
pub const ADDRESSED_BYTES_MAX: usize = 1024 * 1024;
/// Rules that one message can have. XEP-0079.
pub const AMP_RULES_MAX: usize = 16;
/// JIDs in the lists of a user's archiving preferences. XEP-0441.
pub const ARCHIVE_PREFS_JIDS_MAX: usize = 1_000;
/// Nodes of push services that one user's clients have named. XEP-0357
pub const PUSH_NODES_MAX: usize = 20;
/// Bytes of the name of such a node.
pub const PUSH_NODE_BYTES_MAX: usize = 1_023;
/// Bytes of the form that a push service wants to have with each notification.
pub const PUSH_OPTIONS_BYTES_MAX: usize = 4 * 1024;
/// Notifications that one node may leave unanswered before it gets no more for [`PUSH_ANSWER_TIME_MAX`].
pub const PUSH_UNANSWERED_MAX: u8 = 8;
/// How long a push service may take to answer.
pub const PUSH_ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
/// Bytes of a message's text in a notification, where the operator wants it there.
pub const PUSH_BODY_BYTES_MAX: usize = 512;
/// Files of one user and slots for more, whatever their size.
pub const UPLOADS_PER_USER_MAX: usize = 5_000;
/// Slots of one user that wait for their file.
pub const UPLOAD_SLOTS_MAX: usize = 50;
/// How long a slot waits for its upload to begin. XEP-0363 §8 finds 300 seconds enough.
pub const UPLOAD_SLOT_TIME_MAX: Duration = Duration::from_secs(600);
/// Bytes of the name that a file has in its address.
pub const UPLOAD_NAME_BYTES_MAX: usize = 200;
/// Bytes of a file's media type.
pub const UPLOAD_TYPE_BYTES_MAX: usize = 127;

/// What may come from a client and how long it may take; set in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// One stanza after login, from `<` to the last `>`.
    pub stanza_bytes_max: usize,
    /// One element before login, the stream header included.
    pub unauthenticated_bytes_max: usize,
    /// Nested elements inside a stanza.
    pub depth_max: usize,
    /// Attributes (namespace declarations included) of one element.
    pub attributes_max: usize,
    /// What may wait to be written to one connection.
    pub outbox_bytes_max: usize,
    /// From accept to a bound resource.
    pub login_time_max: Duration,
    /// Silence after which a client is pinged.
    pub idle_time_max: Duration,
    /// How long a pinged client may take to give a sign of life.
    pub ping_time_max: Duration,
    /// How long a session waits for its client after its connection was cut; zero for not at all. XEP-0198 §5
    pub resume_time_max: Duration,
    /// Wrong passwords on one connection.
    pub auth_failures_max: u32,
    /// Failed logins from one address or for one account before the next ones take turns; 0 is no limit.
    pub login_failures_free: u32,
    /// Stanzas answered with `not-authorized` before login, before the stream ends.
    pub early_stanzas_max: u32,
    /// BOSH sessions on one shard whose clients have not logged in, and of one network a tenth of them; 0 is no limit.
    pub bosh_early_max: u32,
    /// Addresses of one stanza. XEP-0033 §9 wants more than 20 and less than 100.
    pub addresses_max: usize,
    /// Bytes a second from one logged-in client before its reads pause; 0 is no limit.
    pub client_bytes_per_sec_max: u64,
    /// Bytes of one HTTP request body.
    pub body_bytes_max: usize,
    /// Bytes of a HTTP request's head.
    pub head_bytes_max: usize,
    /// From the first byte of a HTTP request to its last.
    pub request_time_max: Duration,
    /// A kept-alive HTTP connection without a request.
    pub keep_alive_time_max: Duration,
    /// Connections from one address; 0 is no limit.
    pub connections_per_address_max: u32,
    /// Connections of all kinds on one shard; 0 is no limit.
    pub connections_max: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            stanza_bytes_max: 256 * 1024,
            unauthenticated_bytes_max: 16 * 1024,
            depth_max: 64,
            attributes_max: 64,
            outbox_bytes_max: 4 * 1024 * 1024,
            login_time_max: Duration::from_secs(30),
            idle_time_max: Duration::from_secs(300),
            ping_time_max: Duration::from_secs(60),
            resume_time_max: Duration::from_secs(300),
            auth_failures_max: 5,
            login_failures_free: 20,
            early_stanzas_max: 8,
            bosh_early_max: 10_000,
            addresses_max: 50,
            client_bytes_per_sec_max: 0,
            body_bytes_max: 1024 * 1024,
            head_bytes_max: 16 * 1024,
            request_time_max: Duration::from_secs(30),
            keep_alive_time_max: Duration::from_secs(75),
            connections_per_address_max: 0,
            connections_max: 0,
        }
    }
}

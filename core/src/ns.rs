//! Every namespace the server speaks, once, with the RFC or XEP it comes from.

// RFC 6120: XMPP core.

/// RFC 6120 §4.8.2: the content of a client stream.
pub const CLIENT: &str = "jabber:client";
/// RFC 6120 §4.8.1: `<stream:stream/>`, `<stream:features/>` and `<stream:error/>`.
pub const STREAMS: &str = "http://etherx.jabber.org/streams";
/// RFC 6120 §4.9.3: stream error conditions.
pub const STREAM_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-streams";
/// RFC 6120 §8.3.3: stanza error conditions.
pub const STANZA_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
/// RFC 6120 §5: STARTTLS.
pub const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
/// RFC 6120 §6: SASL.
pub const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
/// RFC 6120 §7: resource binding.
pub const BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";
/// RFC 3921 §3: session establishment, which clients still send and RFC 6121 made a no-op.
pub const SESSION: &str = "urn:ietf:params:xml:ns:xmpp-session";

// RFC 6121: instant messaging and presence.

/// RFC 6121 §2: the roster.
pub const ROSTER: &str = "jabber:iq:roster";
/// RFC 6121 §2.6 (once XEP-0237): the stream feature for roster versioning.
pub const ROSTER_VERSIONING: &str = "urn:xmpp:features:rosterver";
/// RFC 6121 §3.4: the stream feature for pre-approved subscriptions.
pub const SUBSCRIPTION_PRE_APPROVAL: &str = "urn:xmpp:features:pre-approval";

// Transports.

/// RFC 7395 §3.3.2: `<open/>` and `<close/>` of the WebSocket binding.
pub const FRAMING: &str = "urn:ietf:params:xml:ns:xmpp-framing";
/// XEP-0124: the `<body/>` of BOSH.
pub const BOSH: &str = "http://jabber.org/protocol/httpbind";
/// XEP-0206: the `xmpp:` attributes on the `<body/>` of BOSH.
pub const XBOSH: &str = "urn:xmpp:xbosh";

// XML itself.

/// Namespaces in XML 1.0 §3: bound to the prefix `xml`, always.
pub const XML: &str = "http://www.w3.org/XML/1998/namespace";
/// Namespaces in XML 1.0 §3: bound to the prefix `xmlns`, never to be declared.
pub const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

// Extensions, by number.

/// XEP-0004: data forms.
pub const DATA_FORMS: &str = "jabber:x:data";
/// XEP-0133: the form of commands for administrators; their nodes are this, `#` and a name.
pub const ADMIN: &str = "http://jabber.org/protocol/admin";
/// XEP-0012: last activity.
pub const LAST: &str = "jabber:iq:last";
/// XEP-0013: flexible offline message retrieval.
pub const OFFLINE: &str = "http://jabber.org/protocol/offline";
/// XEP-0122: what values a field of a data form may have.
pub const DATA_VALIDATE: &str = "http://jabber.org/protocol/xdata-validate";
/// XEP-0160: the disco feature of offline storage (not a namespace of elements).
pub const MSG_OFFLINE: &str = "msgoffline";
/// XEP-0016: privacy lists.
pub const PRIVACY: &str = "jabber:iq:privacy";
/// XEP-0030: service discovery, information.
pub const DISCO_INFO: &str = "http://jabber.org/protocol/disco#info";
/// XEP-0030: service discovery, items.
pub const DISCO_ITEMS: &str = "http://jabber.org/protocol/disco#items";
/// XEP-0033: extended stanza addressing.
pub const ADDRESS: &str = "http://jabber.org/protocol/address";
/// XEP-0045: multi-user chat, joining.
pub const MUC: &str = "http://jabber.org/protocol/muc";
/// XEP-0045: multi-user chat, occupants.
pub const MUC_USER: &str = "http://jabber.org/protocol/muc#user";
/// XEP-0045: multi-user chat, affiliations and roles.
pub const MUC_ADMIN: &str = "http://jabber.org/protocol/muc#admin";
/// XEP-0045: multi-user chat, configuration and destruction.
pub const MUC_OWNER: &str = "http://jabber.org/protocol/muc#owner";
/// XEP-0045 §15.6.3: the configuration form's `FORM_TYPE`.
pub const MUC_ROOM_CONFIG: &str = "http://jabber.org/protocol/muc#roomconfig";
/// XEP-0045 §15.6.4: the extended room information's `FORM_TYPE`.
pub const MUC_ROOM_INFO: &str = "http://jabber.org/protocol/muc#roominfo";
/// XEP-0045 §7.13: voice requests' `FORM_TYPE`.
pub const MUC_REQUEST: &str = "http://jabber.org/protocol/muc#request";
/// XEP-0045 §7.10: registration's `FORM_TYPE`.
pub const MUC_REGISTER: &str = "http://jabber.org/protocol/muc#register";
/// XEP-0045 §10.1.4: unique room names.
pub const MUC_UNIQUE: &str = "http://jabber.org/protocol/muc#unique";
/// XEP-0045 §6.6: the traffic a room allows (a disco node).
pub const MUC_TRAFFIC: &str = "http://jabber.org/protocol/muc#traffic";
/// XEP-0045 §15.3: the room leaves the ids of messages as they are (a disco feature).
pub const MUC_STABLE_ID: &str = "http://jabber.org/protocol/muc#stable_id";
/// XEP-0049: private XML storage.
pub const PRIVATE: &str = "jabber:iq:private";
/// XEP-0050: ad-hoc commands.
pub const COMMANDS: &str = "http://jabber.org/protocol/commands";
/// XEP-0054: vcard-temp.
pub const VCARD: &str = "vcard-temp";
/// XEP-0059: result set management.
pub const RSM: &str = "http://jabber.org/protocol/rsm";
/// XEP-0060: publish-subscribe.
pub const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
/// XEP-0060: publish-subscribe, error conditions.
pub const PUBSUB_ERRORS: &str = "http://jabber.org/protocol/pubsub#errors";
/// XEP-0060: publish-subscribe, events.
pub const PUBSUB_EVENT: &str = "http://jabber.org/protocol/pubsub#event";
/// XEP-0060: publish-subscribe, owners.
pub const PUBSUB_OWNER: &str = "http://jabber.org/protocol/pubsub#owner";
/// XEP-0060 §16.4.4: a node's configuration's `FORM_TYPE`.
pub const PUBSUB_NODE_CONFIG: &str = "http://jabber.org/protocol/pubsub#node_config";
/// XEP-0060 §5.4: what a node is about, the `FORM_TYPE`.
pub const PUBSUB_META_DATA: &str = "http://jabber.org/protocol/pubsub#meta-data";
/// XEP-0060 §7.1.5: what a publication asks of its node, the `FORM_TYPE`.
pub const PUBSUB_PUBLISH_OPTIONS: &str = "http://jabber.org/protocol/pubsub#publish-options";
/// XEP-0077: in-band registration.
pub const REGISTER: &str = "jabber:iq:register";
/// XEP-0077: in-band registration, the stream feature.
pub const REGISTER_FEATURE: &str = "http://jabber.org/features/iq-register";
/// XEP-0078: authentication before SASL; only ever refused.
pub const IQ_AUTH: &str = "jabber:iq:auth";
/// XEP-0079: advanced message processing.
pub const AMP: &str = "http://jabber.org/protocol/amp";
/// XEP-0079: advanced message processing, the stream feature.
pub const AMP_FEATURE: &str = "http://jabber.org/features/amp";
/// XEP-0079 §8: advanced message processing, error conditions.
pub const AMP_ERRORS: &str = "http://jabber.org/protocol/amp#errors";
/// XEP-0084: user avatars, the pictures; also the node that they are on.
pub const AVATAR_DATA: &str = "urn:xmpp:avatar:data";
/// XEP-0084: user avatars, what pictures there are; also the node that says so.
pub const AVATAR_METADATA: &str = "urn:xmpp:avatar:metadata";
/// XEP-0085: chat states.
pub const CHAT_STATES: &str = "http://jabber.org/protocol/chatstates";
/// XEP-0091: delay before XEP-0203, for old clients.
pub const DELAY_LEGACY: &str = "jabber:x:delay";
/// XEP-0092: software version.
pub const VERSION: &str = "jabber:iq:version";
/// XEP-0115: entity capabilities.
pub const CAPS: &str = "http://jabber.org/protocol/caps";
/// XEP-0138: stream compression; neither offered nor accepted.
pub const COMPRESS: &str = "http://jabber.org/protocol/compress";
/// XEP-0138: stream compression, the stream feature; never offered.
pub const COMPRESS_FEATURE: &str = "http://jabber.org/features/compress";
/// XEP-0153: vCard-based avatars.
pub const VCARD_UPDATE: &str = "vcard-temp:x:update";
/// XEP-0157: contact addresses' `FORM_TYPE`.
pub const SERVER_INFO: &str = "http://jabber.org/network/serverinfo";
/// XEP-0166: Jingle.
pub const JINGLE: &str = "urn:xmpp:jingle:1";
/// XEP-0184: message delivery receipts.
pub const RECEIPTS: &str = "urn:xmpp:receipts";
/// XEP-0191: blocking.
pub const BLOCKING: &str = "urn:xmpp:blocking";
/// XEP-0191 §3.5: blocking, the error condition.
pub const BLOCKING_ERRORS: &str = "urn:xmpp:blocking:errors";
/// XEP-0198: stream management.
pub const SM: &str = "urn:xmpp:sm:3";
/// XEP-0199: ping.
pub const PING: &str = "urn:xmpp:ping";
/// XEP-0202: entity time.
pub const TIME: &str = "urn:xmpp:time";
/// XEP-0203: delayed delivery.
pub const DELAY: &str = "urn:xmpp:delay";
/// XEP-0215: external service discovery.
pub const EXTERNAL_SERVICES: &str = "urn:xmpp:extdisco:2";
/// XEP-0224: attention.
pub const ATTENTION: &str = "urn:xmpp:attention:0";
/// XEP-0249: direct invitations to a room.
pub const CONFERENCE: &str = "jabber:x:conference";
/// XEP-0280: message carbons.
pub const CARBONS: &str = "urn:xmpp:carbons:2";
/// XEP-0297: stanza forwarding.
pub const FORWARD: &str = "urn:xmpp:forward:0";
/// XEP-0308: last message correction.
pub const CORRECT: &str = "urn:xmpp:message-correct:0";
/// XEP-0313: message archive management.
pub const MAM: &str = "urn:xmpp:mam:2";
/// XEP-0313 §3.2: message archive management, the extended disco feature.
pub const MAM_EXTENDED: &str = "urn:xmpp:mam:2#extended";
/// XEP-0313: the disco feature of the field `include-groupchat`.
pub const MAM_GROUPCHAT_FIELD: &str = "urn:xmpp:mam:2#groupchat-field";
/// XEP-0319: last interaction in presence.
pub const IDLE: &str = "urn:xmpp:idle:1";
/// XEP-0333: chat markers.
pub const CHAT_MARKERS: &str = "urn:xmpp:chat-markers:0";
/// XEP-0334: message processing hints.
pub const HINTS: &str = "urn:xmpp:hints";
/// XEP-0352: client state indication.
pub const CSI: &str = "urn:xmpp:csi:0";
/// XEP-0353: calls that are proposed in messages.
pub const JINGLE_MESSAGE: &str = "urn:xmpp:jingle-message:0";
/// XEP-0357: push notifications.
pub const PUSH: &str = "urn:xmpp:push:0";
/// XEP-0357 §7: what a notification says, the `FORM_TYPE`.
pub const PUSH_SUMMARY: &str = "urn:xmpp:push:summary";
/// XEP-0359: unique and stable stanza ids.
pub const STANZA_ID: &str = "urn:xmpp:sid:0";
/// XEP-0363: HTTP file upload.
pub const UPLOAD: &str = "urn:xmpp:http:upload:0";
/// XEP-0363 §5: what an upload is for.
pub const UPLOAD_PURPOSE: &str = "urn:xmpp:http:upload:purpose:0";
/// XEP-0363 §5.1: files for messages, the disco feature.
pub const UPLOAD_FOR_MESSAGE: &str = "urn:xmpp:http:upload:purpose:0#message";
/// XEP-0363 §5.3: files with an end of their own, the disco feature.
pub const UPLOAD_EPHEMERAL: &str = "urn:xmpp:http:upload:purpose:0#ephemeral";
/// XEP-0410: self-ping optimisation, the disco feature.
pub const MUC_SELF_PING: &str = "http://jabber.org/protocol/muc#self-ping-optimization";
/// XEP-0421: occupant ids.
pub const OCCUPANT_ID: &str = "urn:xmpp:occupant-id:0";
/// XEP-0114: the streams of components.
pub const COMPONENT: &str = "jabber:component:accept";
/// XEP-0027: encrypted messages, as clients had them first.
pub const ENCRYPTED: &str = "jabber:x:encrypted";
/// XEP-0373: OpenPGP.
pub const OPENPGP: &str = "urn:xmpp:openpgp:0";
/// XEP-0384: OMEMO, as most clients have it.
pub const OMEMO: &str = "eu.siacs.conversations.axolotl";
/// XEP-0384: OMEMO, as it is written down now.
pub const OMEMO_2: &str = "urn:xmpp:omemo:2";
/// XEP-0386: binding a resource with the login.
pub const BIND_2: &str = "urn:xmpp:bind:0";
/// XEP-0388: SASL2.
pub const SASL_2: &str = "urn:xmpp:sasl:2";
/// XEP-0424: message retraction.
pub const RETRACT: &str = "urn:xmpp:message-retract:1";
/// XEP-0424 §4: the archive has tombstones (a disco feature).
pub const RETRACT_TOMBSTONE: &str = "urn:xmpp:message-retract:1#tombstone";
/// XEP-0425: moderated message retraction.
pub const MODERATE: &str = "urn:xmpp:message-moderate:1";
/// XEP-0444: message reactions.
pub const REACTIONS: &str = "urn:xmpp:reactions:0";
/// XEP-0055: search.
pub const SEARCH: &str = "jabber:iq:search";
/// The bridge of XEP-0174 as caps name it, and what it says of messages from the link.
pub const LINK_LOCAL: &str = "urn:x-rookery:link-local";
/// XEP-0440: the channel bindings a server can do.
pub const CHANNEL_BINDING: &str = "urn:xmpp:sasl-cb:0";
/// XEP-0484: tokens for logging in again.
pub const FAST: &str = "urn:xmpp:fast:0";
/// XEP-0478: stream limits.
pub const STREAM_LIMITS: &str = "urn:xmpp:stream-limits:0";
/// XEP-0048: bookmarks, as one element.
pub const BOOKMARKS_LEGACY: &str = "storage:bookmarks";
/// XEP-0402: bookmarks, one item each; also the node that they are on.
pub const BOOKMARKS: &str = "urn:xmpp:bookmarks:1";
/// XEP-0402 §6.3: the disco feature of a server whose private XML storage holds the same bookmarks.
pub const BOOKMARKS_COMPAT: &str = "urn:xmpp:bookmarks:1#compat";
/// XEP-0398 §2: the disco feature of a server that makes one picture of the two kinds.
pub const AVATAR_CONVERSION: &str = "urn:xmpp:pep-vcard-conversion:0";

//! XEP-0030: Service Discovery.

use std::borrow::Cow;

use super::pep::{self, DiscoNode};
use super::{At, EXTENSIONS, Extension, IqRoute, Request, Spec, caps, commands, nothing};
use crate::account::Account;
use crate::component::Settings;
use crate::effect::{Site, Turn};
use crate::error::Condition;
use crate::link_local::Link;
use crate::ns;
use crate::row::{Reads, Rows};
use crate::stanza::{IqAnswer, IqKind};
use crate::xml::Writer;

pub(super) static DISCO: Extension = Extension {
    name: "Service Discovery",
    spec: Spec::Xep(30, "2.5rc3"),
    server_features: &[ns::DISCO_INFO, ns::DISCO_ITEMS],
    account_features: &[ns::DISCO_INFO, ns::DISCO_ITEMS],
    iq: &[
        get(At::Server, ns::DISCO_INFO, on_info),
        get(At::Server, ns::DISCO_ITEMS, on_items),
        of_account(ns::DISCO_INFO, plan_info, account_info),
        of_account(ns::DISCO_ITEMS, plan_items, account_items),
    ],
    ..Extension::NONE
};

type Answer = fn(&Request<'_>, &mut Account, Rows, &mut Turn<'_>) -> IqAnswer;

const fn get(at: At, ns: &'static str, apply: Answer) -> IqRoute {
    IqRoute { at, kind: IqKind::Get, ns, name: "query", plan: nothing, apply }
}

type Plan = fn(&Request<'_>, &Account) -> Reads;

const fn of_account(ns: &'static str, plan: Plan, apply: Answer) -> IqRoute {
    IqRoute { at: At::AnyAccount, kind: IqKind::Get, ns, name: "query", plan, apply }
}

fn on_info(request: &Request<'_>, account: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    match node(request).as_deref() {
        Some(node) if commands::is_node(node) => commands::info(node, account, turn.site),
        node => Ok(server_info(node, turn.site)?),
    }
}

/// What disco#info says of the server, or of one of its nodes.
pub(super) fn server_info(node: Option<&str>, site: &Site) -> Result<Vec<u8>, Condition> {
    match node {
        None => Ok(of_server(site, None)),
        // XEP-0115 §6.2: the same answer, for those who ask for what the stream features named.
        Some(node) if node == caps::node(site) => Ok(of_server(site, Some(node))),
        Some(node) => of_node(node).ok_or(Condition::ItemNotFound),
    }
}

/// What disco#info says of one of the server's nodes.
fn of_node(node: &str) -> Option<Vec<u8>> {
    let found = EXTENSIONS.iter().flat_map(|extension| extension.server_nodes).find(|known| known.node == node)?;
    Some(info(Some(node), [("server", "im")].iter(), found.features.iter(), |_| {}))
}

/// What disco#info says of the server.
pub(super) fn of_server(site: &Site, node: Option<&str>) -> Vec<u8> {
    let features = EXTENSIONS.iter().flat_map(|extension| extension.server_features);
    let forms = EXTENSIONS.iter().flat_map(|extension| extension.server_forms);
    let others = EXTENSIONS.iter().flat_map(|extension| extension.server_identities);
    info(node, [("server", "im")].iter().chain(others), features, |xml| forms.for_each(|form| form(site, xml)))
}

/// XEP-0030 §8: strangers learn nothing about who exists.
fn account_info(request: &Request<'_>, account: &mut Account, rows: Rows, _: &mut Turn<'_>) -> IqAnswer {
    if let Some(node) = node(request) {
        return pep::discover(account, DiscoNode::Info, &node, request.from, rows);
    }
    for_friends(request, account)?;
    let features = EXTENSIONS.iter().flat_map(|extension| extension.account_features);
    let others = EXTENSIONS.iter().flat_map(|extension| extension.account_identities);
    Ok(info(None, [("account", "registered")].iter().chain(others), features, |_| {}))
}

/// The node that is asked about.
fn node<'a>(request: &Request<'a>) -> Option<Cow<'a, str>> {
    request.payload.attr("node").filter(|node| !node.is_empty())
}

fn plan_info(request: &Request<'_>, account: &Account) -> Reads {
    node(request).map_or_else(Reads::none, |node| pep::plan_disco(account, DiscoNode::Info, &node, request.from))
}

fn plan_items(request: &Request<'_>, account: &Account) -> Reads {
    node(request).map_or_else(Reads::none, |node| pep::plan_disco(account, DiscoNode::Items, &node, request.from))
}

/// The resources that are there, and the nodes. XEP-0030 §4.2 lets a server name them to those who see them anyway.
fn account_items(request: &Request<'_>, account: &mut Account, rows: Rows, _: &mut Turn<'_>) -> IqAnswer {
    if let Some(node) = node(request) {
        return pep::discover(account, DiscoNode::Items, &node, request.from, rows);
    }
    for_friends(request, account)?;
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("query").ns(ns::DISCO_ITEMS);
    for session in account.sessions().iter().filter(|session| session.is_available()) {
        xml.leaf("item", &[("jid", session.jid())]);
    }
    pep::write_nodes(account, request.from, &mut xml);
    xml.close();
    drop(xml);
    Ok(out)
}

fn on_items(request: &Request<'_>, account: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    let node = node(request);
    if let Some(node) = node.as_deref().filter(|node| commands::is_node(node)) {
        return commands::items(node, account, turn.site);
    }
    let app = account.id().app;
    let link = turn.site.link.as_deref().filter(|link| link.serves(app));
    Ok(server_items(node.as_deref(), turn.site, |component| component.serves(app), link)?)
}

/// The services of this server: those that hold the rooms and take files, and the components and the bridge that whoever asks can reach.
pub(super) fn server_items(
    node: Option<&str>,
    site: &Site,
    sees: impl Fn(&Settings) -> bool,
    link: Option<&Link>,
) -> Result<Vec<u8>, Condition> {
    if node.is_some() {
        return Err(Condition::ItemNotFound);
    }
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("query").ns(ns::DISCO_ITEMS).leaf("item", &[("jid", &site.muc_domain)]);
    if let Some(uploads) = &site.uploads {
        xml.leaf("item", &[("jid", &uploads.domain), ("name", "HTTP File Upload")]);
    }
    for component in site.components.iter().filter(|component| sees(component)) {
        xml.leaf("item", &[("jid", &component.domain)]);
    }
    if let Some(link) = link {
        xml.leaf("item", &[("jid", &link.domain), ("name", "Serverless messaging")]);
    }
    xml.close();
    drop(xml);
    Ok(out)
}

fn for_friends(request: &Request<'_>, account: &Account) -> Result<(), Condition> {
    let friend = request.from.account == Some(account.id()) || account.roster().is_watched_by(request.from.bare());
    if friend { Ok(()) } else { Err(Condition::ServiceUnavailable) }
}

pub(super) fn no_node(request: &Request<'_>) -> Result<(), Condition> {
    match request.attr("node").as_deref() {
        None | Some("") => Ok(()),
        Some(_) => Err(Condition::ItemNotFound),
    }
}

/// An answer to disco#info: identities by category, type and name, then features, then what `forms` adds.
pub(super) fn info<'a>(
    node: Option<&str>,
    identities: impl Iterator<Item = &'a (&'a str, &'a str)>,
    features: impl Iterator<Item = &'a &'static str>,
    forms: impl FnOnce(&mut Writer<'_>),
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("query").ns(ns::DISCO_INFO).attr_opt("node", node);
    for (category, kind) in identities {
        xml.leaf("identity", &[("category", category), ("type", kind), ("name", "Rookery")]);
    }
    // XEP-0115 §5.1 counts a feature that is named twice as an attack.
    let mut features: Vec<&str> = features.copied().collect();
    features.sort_unstable();
    features.dedup();
    for feature in features {
        xml.leaf("feature", &[("var", feature)]);
    }
    forms(&mut xml);
    xml.close();
    drop(xml);
    out
}

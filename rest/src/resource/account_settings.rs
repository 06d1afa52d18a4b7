//! `account_settings`: where mobile SDKs learn the endpoints. Server notes §12.1.

use proto::model::directory::apps;
use serde::Serialize;

use crate::flow::{Flow, Moment, done, read};
use crate::http::{Method, Response, Status};
use crate::problem::Problem;
use crate::route::{Call, Need, Route, Segment};

pub(super) static ROUTES: &[Route] =
    &[Route { method: Method::Get, path: &[Segment::Is("account_settings")], need: Need::Nothing, handler: show }];

#[derive(Serialize)]
struct AccountSettings {
    /// An app is an account of its own: the account key is one of its keys.
    account_id: u32,
    api_endpoint: String,
    chat_endpoint: String,
    turnserver_endpoint: String,
    s3_bucket_name: String,
}

fn show(call: Call, _: &mut Moment<'_>) -> Flow {
    let key = call.request.header("qb-account-key").filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| Problem::base(Status::Unauthorized, "Account key is required"))?;
    read(apps::read_by_account_key(key), |rows, moment| {
        let app = apps::found_by_account_key(rows)?
            .ok_or_else(|| Problem::base(Status::UnprocessableEntity, "Account key is not valid"))?;
        let settings = moment.settings;
        let body = AccountSettings {
            account_id: app.0,
            api_endpoint: settings.api_endpoint.clone(),
            chat_endpoint: settings.chat_endpoint.clone(),
            turnserver_endpoint: settings.turnserver_endpoint.clone(),
            s3_bucket_name: settings.s3_bucket_name.clone(),
        };
        done(Response::json(Status::Ok, &body))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::flow::world::World;

    #[test]
    fn the_account_key_leads_to_the_endpoints() {
        let mut world = World::new();
        let key = world.create_app("second").keys.account_key;
        let mut ask =
            |headers: &[(&str, &str)]| world.try_call("GET", "/account_settings.json", headers, "").expect("an answer");
        let want = json!({"account_id": 2, "api_endpoint": "https://api.example.com:8443", "chat_endpoint": "chat.example.com",
            "turnserver_endpoint": "turn.example.com", "s3_bucket_name": "files"});
        assert_eq!(ask(&[("QB-Account-Key", &key)]).expect(200).json(), want);
        ask(&[("QB-Account-Key", "unknown")]).expect(422);
        ask(&[]).expect(401);
    }
}

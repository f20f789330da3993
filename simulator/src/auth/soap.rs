//! The two SOAP calls that clients still make: `login` and `logout`.

use super::oauth::password_fits;
use crate::app::App;
use crate::http::request::Call;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// `POST /services/Soap/u/{version}`.
pub(crate) fn answer(app: &App, call: &Call, body: &str, revoked: bool) -> Response {
    if let Some(session) = element(body, "sessionId").filter(|_| opens(body, "logout")) {
        return match app.sessions.end(&session) {
            Ok(_) => envelope(StatusCode::OK, "<logoutResponse/>"),
            Err(_) => fault("UNKNOWN_EXCEPTION", "the session could not be ended"),
        };
    }
    if !opens(body, "login") {
        return fault("UNSUPPORTED_API", "this server answers login and logout only");
    }
    let owner = &app.connected_app;
    let username = element(body, "username").unwrap_or_default();
    let password = element(body, "password").unwrap_or_default();
    if username != owner.username || !password_fits(owner, &password) || revoked {
        return fault("INVALID_LOGIN", "Invalid username, password, security token; or user locked out.");
    }
    let Ok(session) = app.sessions.issue(&owner.org_id, &owner.user_id, "soap") else {
        return fault("UNKNOWN_EXCEPTION", "the session could not be made");
    };
    let version = call.segments.get(3).map_or("60.0", String::as_str);
    let instance = call.instance_url(app);
    let org15 = &owner.org_id[..15];
    let result = format!(
        "<loginResponse><result>\
         <metadataServerUrl>{instance}/services/Soap/m/{version}/{org15}</metadataServerUrl>\
         <passwordExpired>false</passwordExpired><sandbox>false</sandbox>\
         <serverUrl>{instance}/services/Soap/u/{version}/{org15}</serverUrl>\
         <sessionId>{session}</sessionId><userId>{user}</userId>\
         <userInfo><organizationId>{org}</organizationId><organizationName>Leadwell</organizationName>\
         <sessionSecondsValid>7200</sessionSecondsValid><userEmail>{name}</userEmail><userFullName>Integration User</userFullName>\
         <userId>{user}</userId><userLanguage>en_US</userLanguage><userLocale>en_US</userLocale><userName>{name}</userName>\
         <userTimeZone>GMT</userTimeZone><userType>Standard</userType></userInfo>\
         </result></loginResponse>",
        user = owner.user_id,
        org = owner.org_id,
        name = owner.username,
    );
    envelope(StatusCode::OK, &result)
}

fn fault(code: &str, message: &str) -> Response {
    let fault = format!(
        "<soapenv:Fault><faultcode>sf:{code}</faultcode><faultstring>{code}: {message}</faultstring>\
         <detail><sf:LoginFault xsi:type=\"sf:LoginFault\"><sf:exceptionCode>{code}</sf:exceptionCode>\
         <sf:exceptionMessage>{message}</sf:exceptionMessage></sf:LoginFault></detail></soapenv:Fault>"
    );
    envelope(StatusCode::INTERNAL_SERVER_ERROR, &fault)
}

fn envelope(status: StatusCode, content: &str) -> Response {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns=\"urn:partner.soap.sforce.com\" xmlns:sf=\"urn:fault.partner.soap.sforce.com\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body>{content}</soapenv:Body></soapenv:Envelope>"
    );
    (status, [(header::CONTENT_TYPE, "text/xml; charset=utf-8")], body).into_response()
}

/// Whether an element of this local name, under any prefix, opens in the text.
fn opens(xml: &str, name: &str) -> bool {
    start_of(xml, name).is_some()
}

/// Where the first element of this local name begins and its content starts.
fn start_of(xml: &str, name: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(open) = xml[from..].find('<').map(|at| at + from) {
        let tag = &xml[open + 1..];
        let word = tag.split(|c: char| c.is_whitespace() || c == '>' || c == '/').next().unwrap_or_default();
        if word.rsplit(':').next() == Some(name) {
            return tag.find('>').map(|end| open + 1 + end + 1);
        }
        from = open + 1;
    }
    None
}

/// Text of the first element of this local name; the two login fields and the session never hold markup.
fn element(xml: &str, name: &str) -> Option<String> {
    let start = start_of(xml, name)?;
    let text = &xml[start..start + xml[start..].find('<')?];
    let plain =
        text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'").replace("&#39;", "'");
    Some(plain.replace("&amp;", "&"))
}

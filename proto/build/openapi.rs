//! The OpenAPI 3.1 document of the REST side, from the descriptor set.
//!
//! Written here because the generators that were tried do not describe what is served: protoc-gen-connect-openapi 0.17.0
//! splits a Timestamp in a query into seconds and nanos, answers 200 where 202 is sent, and names Connect's error shape;
//! the emitter of rest_over_grpc drops every description. What a field's comment says becomes its description, and
//! google.api.field_behavior becomes `required`, `readOnly` and `writeOnly`.

use std::collections::BTreeSet;

use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor,
    MethodDescriptor, ServiceDescriptor, Value as Proto,
};
use serde_json::{Map, Value as Json, json};

type Error = Box<dyn std::error::Error>;

const PACKAGE: &str = "leadline.v1";
const INTRODUCTION: &str = "Durable, multi-tenant machine learning for CRM data. A call that starts an operation answers 202 \
with the operation; what it made is named in its result. Errors are RFC 9457 problems whose `code` stands in docs/errors.md. \
Lists page by `pageToken`. 64-bit integers are written as strings, as proto3 JSON does.";

/// The document, the names of all rpcs, and of those that answer 202.
pub struct Rendered {
    pub document: String,
    pub rpcs: Vec<String>,
    pub accepting: Vec<String>,
}

/// Renders the document of the services in `descriptors`, pretty-printed, paths and schemas in a stable order.
pub fn render(descriptors: &[u8]) -> Result<Rendered, Error> {
    let pool = DescriptorPool::decode(descriptors)?;
    let emitter =
        Emitter { http: extension(&pool, "google.api.http")?, behavior: extension(&pool, "google.api.field_behavior")? };
    let services: Vec<_> = pool.services().filter(|s| s.package_name() == PACKAGE).collect();
    let mut paths = Map::new();
    let mut messages = BTreeSet::new();
    let (mut rpcs, mut accepting) = (Vec::new(), Vec::new());
    for service in &services {
        for method in service.methods() {
            emitter.add_operation(service, &method, &mut paths, &mut messages)?;
            rpcs.push(method.name().to_owned());
            if emitter.accepts(&method)? {
                accepting.push(method.name().to_owned());
            }
        }
    }
    let mut schemas = emitter.schemas(&pool, messages)?;
    schemas.insert("Problem".into(), problem_schema());
    let tags: Vec<_> =
        services.iter().map(|s| json!({"name": s.name(), "description": comment(s.parent_file(), s.path())})).collect();
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "leadline",
            "version": "v1",
            "description": INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"apiKey": []}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {"Problem": {
                "description": "What went wrong, with its code.",
                "content": {"application/problem+json": {"schema": reference("Problem")}},
            }},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key: `Authorization: Bearer lk_….…`."},
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same API key."},
            },
        },
    });
    Ok(Rendered { document: serde_json::to_string_pretty(&document)? + "\n", rpcs, accepting })
}

fn extension(pool: &DescriptorPool, name: &str) -> Result<ExtensionDescriptor, Error> {
    pool.get_extension_by_name(name).ok_or_else(|| format!("the descriptor set lacks extension {name}").into())
}

struct Emitter {
    http: ExtensionDescriptor,
    behavior: ExtensionDescriptor,
}

/// A route out of a `google.api.http` annotation.
struct Binding {
    verb: &'static str,
    template: String,
    whole_body: bool,
}

impl Emitter {
    fn add_operation(
        &self,
        service: &ServiceDescriptor,
        method: &MethodDescriptor,
        paths: &mut Map<String, Json>,
        messages: &mut BTreeSet<String>,
    ) -> Result<(), Error> {
        let binding = self.binding(method)?;
        let (input, output) = (method.input(), method.output());
        let captured: Vec<_> = input.fields().filter(|f| binding.template.contains(&format!("{{{}}}", f.name()))).collect();
        let mut path = binding.template.clone();
        let mut parameters = Vec::new();
        for field in &captured {
            path = path.replace(&format!("{{{}}}", field.name()), &format!("{{{}}}", field.json_name()));
            parameters
                .push(json!({"name": field.json_name(), "in": "path", "required": true, "schema": self.field_schema(field)}));
        }
        let accepts = self.accepts(method)?;
        let mut operation = json!({
            "tags": [service.name()],
            "operationId": lower_camel(method.name()),
            "description": comment(method.parent_file(), method.path()),
        });
        if accepts && !acts_on_an_operation(service) {
            parameters.push(json!({
                "name": "Idempotency-Key", "in": "header", "required": false,
                "description": "A repeated key with the same body answers the same operation; with another body, 422.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            }));
        }
        if binding.whole_body {
            messages.insert(input.full_name().to_owned());
            operation["requestBody"] =
                json!({"required": true, "content": {"application/json": {"schema": reference(input.full_name())}}});
        } else {
            let query = input.fields().filter(|f| !captured.contains(f));
            parameters.extend(query.map(|f| self.query_parameter(&f)));
        }
        for field in input.fields() {
            reach(&field.kind(), messages);
        }
        reach(&Kind::Message(output.clone()), messages);
        if !parameters.is_empty() {
            operation["parameters"] = Json::Array(parameters);
        }
        let (status, description) = if accepts { ("202", "Accepted.") } else { ("200", "Done.") };
        let mut done =
            json!({"description": description, "content": {"application/json": {"schema": reference(output.full_name())}}});
        if accepts {
            done["headers"] = json!({"Location": {
                "description": "Path of the operation, to be asked how far it is.",
                "schema": {"type": "string", "format": "uri-reference"},
            }});
        }
        operation["responses"] = json!({status: done, "default": {"$ref": "#/components/responses/Problem"}});
        let item = paths.entry(path).or_insert_with(|| json!({}));
        item[binding.verb] = operation;
        Ok(())
    }

    /// Whether the call answers 202: it asks for work that goes on after the answer.
    fn accepts(&self, method: &MethodDescriptor) -> Result<bool, Error> {
        Ok(self.binding(method)?.verb == "post" && method.output().name() == "Operation")
    }

    fn binding(&self, method: &MethodDescriptor) -> Result<Binding, Error> {
        let options = method.options();
        let value = options.get_extension(&self.http);
        let rule: &DynamicMessage = value.as_message().ok_or("google.api.http is a message")?;
        let text = |name: &str| rule.get_field_by_name(name).and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        let verb = ["get", "post", "put", "patch", "delete"].into_iter().find(|verb| !text(verb).is_empty());
        let verb = verb.ok_or_else(|| format!("{} has no google.api.http annotation", method.full_name()))?;
        Ok(Binding { verb, template: text(verb), whole_body: text("body") == "*" })
    }

    fn query_parameter(&self, field: &FieldDescriptor) -> Json {
        let mut schema = self.field_schema(field);
        let description = schema.as_object_mut().and_then(|s| s.remove("description"));
        let mut parameter = json!({"name": field.json_name(), "in": "query", "schema": schema});
        if let Some(description) = description {
            parameter["description"] = description;
        }
        parameter
    }

    /// The schemas of `messages` and of the enums they use. A request leaves out what its path carries.
    fn schemas(&self, pool: &DescriptorPool, messages: BTreeSet<String>) -> Result<Map<String, Json>, Error> {
        let sent = requested(pool);
        let mut schemas = Map::new();
        for name in messages {
            if let Some(found) = pool.get_enum_by_name(&name) {
                schemas.insert(schema_name(&name).to_owned(), enum_schema(&found));
            } else {
                let message = pool.get_message_by_name(&name).ok_or_else(|| format!("no message {name}"))?;
                let closed = sent.contains(&name);
                schemas.insert(schema_name(&name).to_owned(), self.message_schema(pool, &message, closed)?);
            }
        }
        Ok(schemas)
    }

    /// The schema of a message; `closed` where a field that is not in it is refused.
    fn message_schema(&self, pool: &DescriptorPool, message: &MessageDescriptor, closed: bool) -> Result<Json, Error> {
        let captured = self.captured_fields(pool, message)?;
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in message.fields().filter(|f| !captured.contains(f.name())) {
            if self.behaves(&field, "REQUIRED") {
                required.push(field.json_name().to_owned());
            }
            properties.insert(field.json_name().to_owned(), self.field_schema(&field));
        }
        let mut schema = json!({"type": "object", "properties": properties});
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        if closed {
            schema["additionalProperties"] = json!(false);
        }
        describe(&mut schema, &comment(message.parent_file(), message.path()));
        Ok(schema)
    }

    fn captured_fields(&self, pool: &DescriptorPool, message: &MessageDescriptor) -> Result<BTreeSet<String>, Error> {
        let mut captured = BTreeSet::new();
        for method in pool.services().filter(|s| s.package_name() == PACKAGE).flat_map(|s| s.methods().collect::<Vec<_>>()) {
            if method.input() == *message {
                let template = self.binding(&method)?.template;
                captured.extend(template.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0.to_owned())));
            }
        }
        Ok(captured)
    }

    fn field_schema(&self, field: &FieldDescriptor) -> Json {
        let mut schema = kind_schema(&field.kind());
        if field.is_list() {
            schema = json!({"type": "array", "items": schema});
        }
        if self.behaves(field, "OUTPUT_ONLY") {
            schema["readOnly"] = json!(true);
        }
        if self.behaves(field, "INPUT_ONLY") {
            schema["writeOnly"] = json!(true);
        }
        describe(&mut schema, &comment(field.parent_message().parent_file(), field.path()));
        schema
    }

    fn behaves(&self, field: &FieldDescriptor, behavior: &str) -> bool {
        let options = field.options();
        let value = options.get_extension(&self.behavior);
        let wanted = match self.behavior.kind() {
            Kind::Enum(behaviors) => behaviors.get_value_by_name(behavior).map(|v| v.number()),
            _ => None,
        };
        value.as_list().is_some_and(|list| list.iter().any(|v| wanted.is_some() && Proto::as_enum_number(v) == wanted))
    }
}

/// Calls of this service are about an operation that runs already: repeating one is safe without a key.
fn acts_on_an_operation(service: &ServiceDescriptor) -> bool {
    service.name() == "Operations"
}

/// The messages that callers send, those within them included.
fn requested(pool: &DescriptorPool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for method in pool.services().filter(|s| s.package_name() == PACKAGE).flat_map(|s| s.methods().collect::<Vec<_>>()) {
        reach(&Kind::Message(method.input()), &mut found);
    }
    found
}

/// Collects the messages and enums of our package that `kind` leads to.
fn reach(kind: &Kind, found: &mut BTreeSet<String>) {
    match kind {
        Kind::Enum(values) if values.package_name() == PACKAGE => {
            found.insert(values.full_name().to_owned());
        }
        // A message that was found before needs no second walk; a recursive one would never end it.
        Kind::Message(message) if message.package_name() == PACKAGE && found.insert(message.full_name().to_owned()) => {
            message.fields().for_each(|f| reach(&f.kind(), found));
        }
        _ => {}
    }
}

fn kind_schema(kind: &Kind) -> Json {
    match kind {
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Double | Kind::Float => json!({"type": "number", "format": "double"}),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({"type": "integer", "format": "int32"}),
        Kind::Uint32 | Kind::Fixed32 => json!({"type": "integer", "minimum": 0}),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => {
            json!({"type": ["string", "integer"], "format": "int64", "pattern": "^-?[0-9]+$"})
        }
        Kind::String => json!({"type": "string"}),
        Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
        Kind::Enum(values) => reference(values.full_name()),
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.Timestamp" => json!({"type": "string", "format": "date-time"}),
            "google.protobuf.Struct" => json!({"type": "object", "additionalProperties": true}),
            _ => reference(message.full_name()),
        },
    }
}

fn enum_schema(values: &EnumDescriptor) -> Json {
    let names: Vec<_> = values.values().map(|v| v.name().to_owned()).collect();
    let mut notes = Vec::new();
    for value in values.values() {
        let note = comment(values.parent_file(), value.path());
        if !note.is_empty() {
            notes.push(format!("- {}: {note}", value.name()));
        }
    }
    let mut schema = json!({"type": "string", "enum": names});
    let mut description = comment(values.parent_file(), values.path());
    if !notes.is_empty() {
        description = format!("{description}\n\n{}", notes.join("\n")).trim().to_owned();
    }
    describe(&mut schema, &description);
    schema
}

fn problem_schema() -> Json {
    json!({
        "type": "object",
        "description": "RFC 9457.",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference", "description": "Where the code is explained."},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What happened, without any value of yours."},
            "instance": {"type": "string", "description": "The path of the request."},
            "code": {"type": "string", "description": "Stable; one section each in docs/errors.md."},
            "requestId": {"type": "string", "description": "Finds the request in the logs."},
            "retryAfterSeconds": {"type": "integer", "description": "When trying again can help."},
        },
    })
}

/// A message or an enum as the document names it: `AsyncPrediction.State` for one within another.
fn schema_name(full_name: &str) -> &str {
    full_name.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix('.')).unwrap_or(full_name)
}

fn reference(full_name: &str) -> Json {
    json!({"$ref": format!("#/components/schemas/{}", schema_name(full_name))})
}

fn describe(schema: &mut Json, description: &str) {
    if !description.is_empty() {
        schema["description"] = json!(description);
    }
}

fn lower_camel(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map(|first| first.to_ascii_lowercase().to_string() + characters.as_str()).unwrap_or_default()
}

/// The leading comment of the element at `path` in `file`, one line.
fn comment(file: prost_reflect::FileDescriptor, path: &[i32]) -> String {
    let locations = file.file_descriptor_proto().source_code_info.as_ref().map(|info| info.location.as_slice());
    let found = locations.unwrap_or_default().iter().find(|location| location.path == path);
    let text = found.and_then(|location| location.leading_comments.as_deref()).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

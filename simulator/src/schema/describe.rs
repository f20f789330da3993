//! Describe answers with every key that the vendor sends, because clients of all languages bind them to fixed types.

use super::{FieldDef, FieldKind, ObjectDef, Source};
use serde_json::{Value as Json, json};

/// One entry of the global describe, and the top level of an object's describe.
pub(crate) fn summary(def: &ObjectDef, version: &str) -> Json {
    let base = format!("/services/data/v{version}/sobjects/{}", def.name);
    json!({
        "activateable": false,
        "associateEntityType": null,
        "associateParentEntity": null,
        "createable": true,
        "custom": def.is_custom(),
        "customSetting": false,
        "deepCloneable": false,
        "deletable": true,
        "deprecatedAndHidden": false,
        "feedEnabled": false,
        "hasSubtypes": false,
        "isInterface": false,
        "isSubtype": false,
        "keyPrefix": def.key_prefix,
        "label": def.label,
        "labelPlural": def.label_plural,
        "layoutable": true,
        "mergeable": matches!(def.name.as_str(), "Account" | "Contact" | "Lead"),
        "mruEnabled": true,
        "name": def.name,
        "queryable": true,
        "replicateable": true,
        "retrieveable": true,
        "searchable": true,
        "triggerable": true,
        "undeletable": true,
        "updateable": true,
        "urls": {
            "rowTemplate": format!("{base}/{{ID}}"),
            "describe": format!("{base}/describe"),
            "sobject": base,
        },
    })
}

/// The whole describe of one object. `children` are the (object, field, relationship) triples that refer to it.
pub(crate) fn full(def: &ObjectDef, children: &[(String, String, String)], version: &str) -> Json {
    let mut answer = summary(def, version);
    let more = json!({
        "actionOverrides": [],
        "childRelationships": children.iter().map(child_relationship).collect::<Vec<_>>(),
        "compactLayoutable": true,
        "defaultImplementation": null,
        "extendedBy": null,
        "extendsInterfaces": null,
        "fields": def.fields.iter().map(field).collect::<Vec<_>>(),
        "implementedBy": null,
        "implementsInterfaces": null,
        "listviewable": null,
        "lookupLayoutable": null,
        "namedLayoutInfos": [],
        "networkScopeFieldName": null,
        "recordTypeInfos": [{
            "active": true,
            "available": true,
            "defaultRecordTypeMapping": true,
            "developerName": "Master",
            "master": true,
            "name": "Master",
            "recordTypeId": "012000000000000AAA",
            "urls": { "layout": format!("/services/data/v{version}/sobjects/{}/describe/layouts/012000000000000AAA", def.name) },
        }],
        "searchLayoutable": true,
        "sobjectDescribeOption": "FULL",
        "supportedScopes": [
            { "label": format!("All {}", def.label_plural.to_lowercase()), "name": "everything" },
            { "label": format!("My {}", def.label_plural.to_lowercase()), "name": "mine" },
        ],
    });
    if let (Json::Object(answer), Json::Object(more)) = (&mut answer, more) {
        answer.extend(more);
    }
    answer
}

fn child_relationship((object, field, relationship): &(String, String, String)) -> Json {
    json!({
        "cascadeDelete": false,
        "childSObject": object,
        "deprecatedAndHidden": false,
        "field": field,
        "junctionIdListNames": [],
        "junctionReferenceTo": [],
        "relationshipName": relationship,
        "restrictedDelete": false,
    })
}

/// Vendor type, SOAP type, and (length, precision, scale, digits) of a kind.
fn wire_type(kind: &FieldKind) -> (&'static str, &'static str, [u32; 4]) {
    let length = kind.max_length().unwrap_or(0);
    match kind {
        FieldKind::Id => ("id", "tns:ID", [length, 0, 0, 0]),
        FieldKind::Boolean => ("boolean", "xsd:boolean", [0; 4]),
        FieldKind::String { .. } => ("string", "xsd:string", [length, 0, 0, 0]),
        FieldKind::TextArea { .. } => ("textarea", "xsd:string", [length, 0, 0, 0]),
        FieldKind::Picklist { .. } => ("picklist", "xsd:string", [length, 0, 0, 0]),
        FieldKind::Int => ("int", "xsd:int", [0, 0, 0, 9]),
        FieldKind::Double { scale } => ("double", "xsd:double", [0, 18, u32::from(*scale), 0]),
        FieldKind::Currency => ("currency", "xsd:double", [0, 18, 2, 0]),
        FieldKind::Percent => ("percent", "xsd:double", [0, 5, 2, 0]),
        FieldKind::Date => ("date", "xsd:date", [0; 4]),
        FieldKind::DateTime => ("datetime", "xsd:dateTime", [0; 4]),
        FieldKind::Email => ("email", "xsd:string", [length, 0, 0, 0]),
        FieldKind::Phone => ("phone", "xsd:string", [length, 0, 0, 0]),
        FieldKind::Url => ("url", "xsd:string", [length, 0, 0, 0]),
        FieldKind::Reference { .. } => ("reference", "tns:ID", [length, 0, 0, 0]),
        FieldKind::Address => ("address", "urn:address", [0; 4]),
    }
}

fn field(def: &FieldDef) -> Json {
    let (wire, soap, [length, precision, scale, digits]) = wire_type(&def.kind);
    let compound = def.kind == FieldKind::Address;
    let long_text = matches!(def.kind, FieldKind::TextArea { length } if length > 255);
    let (reference_to, relationship) = match &def.kind {
        FieldKind::Reference { to, relationship } => (to.clone(), Some(relationship.clone())),
        _ => (Vec::new(), None),
    };
    let picklist: Vec<Json> = match &def.kind {
        FieldKind::Picklist { values } => values.iter().map(|value| picklist_value(value)).collect(),
        _ => Vec::new(),
    };
    let plain = !compound && !long_text;
    let name_field = def.source == Source::FullName || def.name == "Name";
    let system = !def.writable && !def.custom;
    json!({
        "aggregatable": plain,
        "aiPredictionField": false,
        "autoNumber": false,
        "byteLength": if length > 0 { length.saturating_mul(3) } else { 0 },
        "calculated": false,
        "calculatedFormula": null,
        "cascadeDelete": false,
        "caseSensitive": false,
        "compoundFieldName": def.compound,
        "controllerName": null,
        "createable": def.writable,
        "custom": def.custom,
        "defaultValue": if def.kind == FieldKind::Boolean { json!(false) } else { Json::Null },
        "defaultValueFormula": null,
        "defaultedOnCreate": system || def.kind == FieldKind::Boolean || def.name == "OwnerId",
        "dependentPicklist": false,
        "deprecatedAndHidden": false,
        "digits": digits,
        "displayLocationInDecimal": false,
        "encrypted": false,
        "externalId": def.external_id,
        "extraTypeInfo": if long_text { json!("plaintextarea") } else { Json::Null },
        "filterable": !long_text,
        "filteredLookupInfo": null,
        "formulaTreatNullNumberAsZero": false,
        "groupable": plain && !matches!(def.kind, FieldKind::DateTime | FieldKind::Double { .. } | FieldKind::Currency | FieldKind::Percent),
        "highScaleNumber": false,
        "htmlFormatted": false,
        "idLookup": def.kind == FieldKind::Id || def.external_id,
        "inlineHelpText": null,
        "label": def.label,
        "length": length,
        "mask": null,
        "maskType": null,
        "name": def.name,
        "nameField": name_field,
        "namePointing": false,
        "nillable": !(def.required || def.kind == FieldKind::Boolean || is_system(&def.name)),
        "permissionable": def.custom,
        "picklistValues": picklist,
        "polymorphicForeignKey": reference_to.len() > 1,
        "precision": precision,
        "queryByDistance": compound,
        "referenceTargetField": null,
        "referenceTo": reference_to,
        "relationshipName": relationship,
        "relationshipOrder": null,
        "restrictedDelete": false,
        "restrictedPicklist": false,
        "scale": scale,
        "searchPrefilterable": def.kind == FieldKind::Id,
        "soapType": soap,
        "sortable": plain,
        "type": wire,
        "unique": def.external_id,
        "updateable": def.writable,
        "writeRequiresMasterRead": false,
    })
}

fn is_system(name: &str) -> bool {
    super::standard::system_fields().iter().any(|field| field.name == name)
}

fn picklist_value(value: &str) -> Json {
    json!({ "active": true, "defaultValue": false, "label": value, "validFor": null, "value": value })
}

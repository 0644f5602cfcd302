//! The JSON types of what we replace. The API server's decoder refuses others before any rule is looked at.
//!
//! Fields that are not in these tables are not looked at: newer versions have more, and the API server drops or refuses
//! them as it sees fit. Null is every type's zero value.

use serde_json::{Number, Value};

use super::report::{Path, Report};

/// What a value must be, named as Go names it.
pub(super) enum Type {
    Text,
    /// A text with a type of its own.
    Word(&'static str),
    Integer32,
    Integer64,
    Flag,
    List(&'static Struct),
    Struct(&'static Struct),
    /// No value of its own: its fields stand in the object that it is a field of.
    Embedded(&'static Struct),
}

/// An object: its name in Go and the fields that we know.
pub(super) struct Struct {
    name: &'static str,
    fields: &'static [(&'static str, Type)],
}

pub(super) static VOLUME: Struct =
    Struct { name: "Volume", fields: &[("name", Type::Text), ("VolumeSource", Type::Embedded(&VOLUME_SOURCE))] };

static VOLUME_SOURCE: Struct = Struct {
    name: "VolumeSource",
    fields: &[("secret", Type::Struct(&SECRET_VOLUME_SOURCE)), ("projected", Type::Struct(&PROJECTED_VOLUME_SOURCE))],
};

static LOCAL_OBJECT_REFERENCE: Struct = Struct { name: "LocalObjectReference", fields: &[("name", Type::Text)] };

static SECRET_VOLUME_SOURCE: Struct = Struct {
    name: "SecretVolumeSource",
    fields: &[
        ("secretName", Type::Text),
        ("items", Type::List(&KEY_TO_PATH)),
        ("defaultMode", Type::Integer32),
        ("optional", Type::Flag),
        ("defaultUser", Type::Integer64),
    ],
};

static KEY_TO_PATH: Struct = Struct {
    name: "KeyToPath",
    fields: &[("key", Type::Text), ("path", Type::Text), ("mode", Type::Integer32), ("user", Type::Integer64)],
};

static PROJECTED_VOLUME_SOURCE: Struct = Struct {
    name: "ProjectedVolumeSource",
    fields: &[
        ("sources", Type::List(&VOLUME_PROJECTION)),
        ("defaultMode", Type::Integer32),
        ("defaultUser", Type::Integer64),
    ],
};

static VOLUME_PROJECTION: Struct = Struct {
    name: "VolumeProjection",
    fields: &[
        ("secret", Type::Struct(&SECRET_PROJECTION)),
        ("downwardAPI", Type::Struct(&DOWNWARD_API_PROJECTION)),
        ("configMap", Type::Struct(&CONFIG_MAP_PROJECTION)),
        ("serviceAccountToken", Type::Struct(&SERVICE_ACCOUNT_TOKEN_PROJECTION)),
        ("clusterTrustBundle", Type::Struct(&CLUSTER_TRUST_BUNDLE_PROJECTION)),
        ("podCertificate", Type::Struct(&POD_CERTIFICATE_PROJECTION)),
    ],
};

static SECRET_PROJECTION: Struct = Struct {
    name: "SecretProjection",
    fields: &[
        ("LocalObjectReference", Type::Embedded(&LOCAL_OBJECT_REFERENCE)),
        ("items", Type::List(&KEY_TO_PATH)),
        ("optional", Type::Flag),
    ],
};

static CONFIG_MAP_PROJECTION: Struct = Struct {
    name: "ConfigMapProjection",
    fields: &[
        ("LocalObjectReference", Type::Embedded(&LOCAL_OBJECT_REFERENCE)),
        ("items", Type::List(&KEY_TO_PATH)),
        ("optional", Type::Flag),
    ],
};

static DOWNWARD_API_PROJECTION: Struct =
    Struct { name: "DownwardAPIProjection", fields: &[("items", Type::List(&DOWNWARD_API_VOLUME_FILE))] };

static DOWNWARD_API_VOLUME_FILE: Struct = Struct {
    name: "DownwardAPIVolumeFile",
    fields: &[
        ("path", Type::Text),
        ("fieldRef", Type::Struct(&OBJECT_FIELD_SELECTOR)),
        ("resourceFieldRef", Type::Struct(&RESOURCE_FIELD_SELECTOR)),
        ("mode", Type::Integer32),
        ("user", Type::Integer64),
    ],
};

static SERVICE_ACCOUNT_TOKEN_PROJECTION: Struct = Struct {
    name: "ServiceAccountTokenProjection",
    fields: &[
        ("audience", Type::Text),
        ("expirationSeconds", Type::Integer64),
        ("path", Type::Text),
        ("user", Type::Integer64),
    ],
};

static CLUSTER_TRUST_BUNDLE_PROJECTION: Struct = Struct {
    name: "ClusterTrustBundleProjection",
    fields: &[
        ("name", Type::Text),
        ("signerName", Type::Text),
        ("optional", Type::Flag),
        ("path", Type::Text),
        ("user", Type::Integer64),
    ],
};

static POD_CERTIFICATE_PROJECTION: Struct = Struct {
    name: "PodCertificateProjection",
    fields: &[
        ("signerName", Type::Text),
        ("keyType", Type::Text),
        ("maxExpirationSeconds", Type::Integer32),
        ("credentialBundlePath", Type::Text),
        ("keyPath", Type::Text),
        ("certificateChainPath", Type::Text),
        ("user", Type::Integer64),
    ],
};

static OBJECT_FIELD_SELECTOR: Struct =
    Struct { name: "ObjectFieldSelector", fields: &[("apiVersion", Type::Text), ("fieldPath", Type::Text)] };

static RESOURCE_FIELD_SELECTOR: Struct =
    Struct { name: "ResourceFieldSelector", fields: &[("containerName", Type::Text), ("resource", Type::Text)] };

pub(super) static ENV_VAR: Struct = Struct {
    name: "EnvVar",
    fields: &[("name", Type::Text), ("value", Type::Text), ("valueFrom", Type::Struct(&ENV_VAR_SOURCE))],
};

static ENV_VAR_SOURCE: Struct = Struct {
    name: "EnvVarSource",
    fields: &[
        ("fieldRef", Type::Struct(&OBJECT_FIELD_SELECTOR)),
        ("resourceFieldRef", Type::Struct(&RESOURCE_FIELD_SELECTOR)),
        ("configMapKeyRef", Type::Struct(&CONFIG_MAP_KEY_SELECTOR)),
        ("secretKeyRef", Type::Struct(&SECRET_KEY_SELECTOR)),
        ("fileKeyRef", Type::Struct(&FILE_KEY_SELECTOR)),
    ],
};

static CONFIG_MAP_KEY_SELECTOR: Struct = Struct {
    name: "ConfigMapKeySelector",
    fields: &[
        ("LocalObjectReference", Type::Embedded(&LOCAL_OBJECT_REFERENCE)),
        ("key", Type::Text),
        ("optional", Type::Flag),
    ],
};

static SECRET_KEY_SELECTOR: Struct = Struct {
    name: "SecretKeySelector",
    fields: &[
        ("LocalObjectReference", Type::Embedded(&LOCAL_OBJECT_REFERENCE)),
        ("key", Type::Text),
        ("optional", Type::Flag),
    ],
};

static FILE_KEY_SELECTOR: Struct = Struct {
    name: "FileKeySelector",
    fields: &[("volumeName", Type::Text), ("path", Type::Text), ("key", Type::Text), ("optional", Type::Flag)],
};

pub(super) static ENV_FROM_SOURCE: Struct = Struct {
    name: "EnvFromSource",
    fields: &[
        ("prefix", Type::Text),
        ("configMapRef", Type::Struct(&CONFIG_MAP_ENV_SOURCE)),
        ("secretRef", Type::Struct(&SECRET_ENV_SOURCE)),
    ],
};

static CONFIG_MAP_ENV_SOURCE: Struct = Struct {
    name: "ConfigMapEnvSource",
    fields: &[("LocalObjectReference", Type::Embedded(&LOCAL_OBJECT_REFERENCE)), ("optional", Type::Flag)],
};

static SECRET_ENV_SOURCE: Struct = Struct {
    name: "SecretEnvSource",
    fields: &[("LocalObjectReference", Type::Embedded(&LOCAL_OBJECT_REFERENCE)), ("optional", Type::Flag)],
};

pub(super) static VOLUME_MOUNT: Struct = Struct {
    name: "VolumeMount",
    fields: &[("readOnly", Type::Flag), ("recursiveReadOnly", Type::Word("v1.RecursiveReadOnlyMode"))],
};

/// Whether the fields of `object` have the types that they must have.
pub(super) fn check(object: &Value, kind: &Struct, path: &Path<'_>, report: &mut Report) -> bool {
    let found = report.found();
    check_fields(object, kind.fields, &Field { owner: kind.name, path }, report);
    report.found() == found
}

/// A field and the object that it is part of.
#[derive(Clone, Copy)]
struct Field<'a> {
    owner: &'static str,
    path: &'a Path<'a>,
}

fn check_fields(object: &Value, fields: &[(&str, Type)], place: &Field<'_>, report: &mut Report) {
    for (name, wanted) in fields {
        if let Type::Embedded(kind) = wanted {
            check_fields(object, kind.fields, &Field { path: &place.path.embedded(name), ..*place }, report);
        } else if let Some(value) = object.get(name) {
            check_value(value, wanted, &Field { path: &place.path.child(name), ..*place }, report);
        }
    }
}

fn check_value(value: &Value, wanted: &Type, field: &Field<'_>, report: &mut Report) {
    match (wanted, value) {
        (_, Value::Null) | (Type::Text | Type::Word(_), Value::String(_)) | (Type::Flag, Value::Bool(_)) => {}
        (Type::Integer32, Value::Number(number)) if is_integer32(number) => {}
        (Type::Integer64, Value::Number(number)) if number.is_i64() => {}
        (Type::Struct(kind), Value::Object(_)) => {
            check_fields(value, kind.fields, &Field { owner: kind.name, ..*field }, report);
        }
        (Type::List(kind), Value::Array(elements)) => check_elements(elements, kind, field, report),
        _ => report.undecodable(field.path, refusal(value, wanted, field)),
    }
}

fn check_elements(elements: &[Value], kind: &'static Struct, field: &Field<'_>, report: &mut Report) {
    for (index, element) in elements.iter().enumerate() {
        let path = field.path.item(index);
        check_value(element, &Type::Struct(kind), &Field { path: &path, ..*field }, report);
    }
}

fn is_integer32(number: &Number) -> bool {
    number.as_i64().is_some_and(|number| i32::try_from(number).is_ok())
}

/// What Go's decoder says. The value itself is not shown, except for a number that is not of the right kind.
fn refusal(value: &Value, wanted: &Type, field: &Field<'_>) -> String {
    let found = match (value, wanted) {
        (Value::Number(number), Type::Integer32 | Type::Integer64) => format!("number {number}"),
        (Value::Number(_), _) => "number".to_owned(),
        (Value::String(_), _) => "string".to_owned(),
        (Value::Bool(_), _) => "bool".to_owned(),
        (Value::Array(_), _) => "array".to_owned(),
        (Value::Object(_) | Value::Null, _) => "object".to_owned(),
    };
    let (owner, name) = (field.owner, field.path.in_go());
    format!("json: cannot unmarshal {found} into Go struct field {owner}.{name} of type {}", go_name(wanted))
}

fn go_name(wanted: &Type) -> String {
    match wanted {
        Type::Text => "string".to_owned(),
        Type::Word(name) => (*name).to_owned(),
        Type::Integer32 => "int32".to_owned(),
        Type::Integer64 => "int64".to_owned(),
        Type::Flag => "bool".to_owned(),
        Type::List(kind) => format!("[]v1.{}", kind.name),
        Type::Struct(kind) | Type::Embedded(kind) => format!("v1.{}", kind.name),
    }
}

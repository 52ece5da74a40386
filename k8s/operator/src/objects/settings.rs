//! Settings of the programs as environment variables: each field is the variable of the same name.

use serde::Serialize;
use serde_json::{Value, json};

/// `idleTimeout: 5m` is `THALWEG_SPU_IDLE_TIMEOUT=5m` under the prefix `THALWEG_SPU_`.
pub(crate) fn variables(prefix: &str, settings: &impl Serialize) -> Vec<Value> {
    let Value::Object(fields) = json!(settings) else {
        return Vec::new();
    };
    fields
        .iter()
        .map(|(field, value)| {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            json!({"name": format!("{prefix}{}", upper_snake(field)), "value": value})
        })
        .collect()
}

/// A variable that has a field of the pod.
pub(crate) fn of_pod(name: &str, path: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}})
}

/// A variable that has this value.
pub(crate) fn given(name: &str, value: impl Into<String>) -> Value {
    json!({"name": name, "value": value.into()})
}

fn upper_snake(camel: &str) -> String {
    let mut name = String::new();
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use thalweg_k8s_crd::SpuSettings;

    use super::*;

    #[test]
    fn each_field_that_is_given_is_a_variable() {
        let settings = SpuSettings {
            idle_timeout: Some("5m".into()),
            auto_create_topics: Some(true),
            guest_threads: Some(0),
            ..SpuSettings::default()
        };

        let mut variables = variables("THALWEG_SPU_", &settings);
        variables.sort_by_key(|one| one["name"].to_string());

        assert_eq!(
            variables,
            [
                given("THALWEG_SPU_AUTO_CREATE_TOPICS", "true"),
                given("THALWEG_SPU_GUEST_THREADS", "0"),
                given("THALWEG_SPU_HANDOVER_TIMEOUT", "5s"),
                given("THALWEG_SPU_IDLE_TIMEOUT", "5m"),
            ]
        );
    }
}

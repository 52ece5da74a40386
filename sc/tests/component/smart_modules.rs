//! The registry without an SPU: what is refused before any bytes are kept, and what SPUs are told.

use thalweg_proto::error_code;
use thalweg_proto::v1::{
    CreateSmartModuleRequest, DeleteSmartModuleRequest, DeleteTopicRequest, GetSmartModuleRequest,
    ListSmartModulesRequest, RollbackSmartModuleRequest, UpdateTopicRequest,
};
use thalweg_types::ErrorCode;
use tonic::Status;

use crate::fake_spu::FakeSpu;
use crate::test_sc::{TestSc, create};

const MEMORY: &str = r#"(memory (export "memory") 1)"#;
const ABI: &str = r#"(func (export "thalweg_abi_v1"))"#;
const ALLOC: &str = r#"(func (export "thalweg_alloc") (param i32) (result i32) i32.const 8)"#;
const FILTER: &str = r#"(func (export "thalweg_filter") (param i32 i32) (result i32) i32.const 8)"#;
const MAP: &str = r#"(func (export "thalweg_map") (param i32 i32) (result i32) i32.const 8)"#;

fn wasm(parts: &[&str]) -> Vec<u8> {
    wat::parse_str(format!("(module {})", parts.concat())).unwrap()
}

fn late(wasm: Vec<u8>) -> CreateSmartModuleRequest {
    CreateSmartModuleRequest {
        name: "late".to_owned(),
        version: String::new(),
        description: String::new(),
        wasm,
        validate_only: false,
    }
}

async fn refused(sc: &TestSc, request: CreateSmartModuleRequest) -> Status {
    sc.admin().create_smart_module(request).await.unwrap_err()
}

#[tokio::test]
async fn bytes_that_are_no_smartmodule_are_refused_in_words() {
    let sc = TestSc::start().await;
    let abi_v2 = r#"(func (export "thalweg_abi_v2"))"#;
    let foreign = r#"(import "env" "open" (func))"#;
    let code = r#"(func (result i32))"#;
    let cases = [
        (b"no wasm".to_vec(), "not a WebAssembly module"),
        (wasm(&[MEMORY, ABI, ALLOC]), "no SmartModule kind"),
        (wasm(&[MEMORY, ABI, ALLOC, FILTER, MAP]), "2 kinds"),
        (wasm(&[MEMORY, abi_v2, ALLOC, FILTER]), "`thalweg_abi_v2`"),
        (wasm(&[foreign, MEMORY, ABI, ALLOC, FILTER]), "`env.open`"),
        (
            wasm(&[MEMORY, ABI, ALLOC, FILTER, code]),
            "not a WebAssembly module",
        ),
        (vec![0; (8 << 20) + 1], "8388609 bytes"),
    ];

    for (wasm, words) in cases {
        let status = refused(&sc, late(wasm)).await;

        assert_eq!(error_code(&status), ErrorCode::InvalidRequest);
        assert!(status.message().contains(words), "{status}");
    }
}

#[tokio::test]
async fn names_versions_and_descriptions_are_checked() {
    let sc = TestSc::start().await;
    let module = || wasm(&[MEMORY, ABI, ALLOC, FILTER]);
    let with = |change: fn(&mut CreateSmartModuleRequest)| {
        let mut request = late(module());
        change(&mut request);
        request
    };
    let cases = [
        (with(|request| request.name = "Late!".to_owned()), "name"),
        (with(|request| request.version = "1".to_owned()), "version"),
        (
            with(|request| request.description = "x".repeat(1001)),
            "description",
        ),
    ];

    for (request, field) in cases {
        let status = refused(&sc, request).await;

        assert_eq!(error_code(&status), ErrorCode::InvalidRequest);
        assert!(status.message().starts_with(field), "{status}");
    }
}

#[tokio::test]
async fn without_an_spu_a_module_is_checked_and_can_not_be_kept() {
    let sc = TestSc::start().await;
    let module = wasm(&[MEMORY, ABI, ALLOC, FILTER]);
    let mut request = late(module.clone());
    request.validate_only = true;

    let checked = sc.admin().create_smart_module(request).await.unwrap();
    let kept = refused(&sc, late(module)).await;

    let checked = checked.into_inner();
    assert_eq!(checked.version, "0.1.0");
    assert!(!checked.created);
    assert_eq!(error_code(&kept), ErrorCode::Unavailable);
    assert!(kept.message().contains("no SPU is online"), "{kept}");
    let mut admin = sc.admin();
    let listed = admin.list_smart_modules(ListSmartModulesRequest {}).await;
    assert!(listed.unwrap().into_inner().smart_modules.is_empty());
}

#[tokio::test]
async fn what_is_not_registered_is_not_found() {
    let sc = TestSc::start().await;
    let name = || "late".to_owned();
    let mut admin = sc.admin();

    let get = GetSmartModuleRequest { name: name() };
    let delete = DeleteSmartModuleRequest {
        name: name(),
        version: String::new(),
    };
    let rollback = RollbackSmartModuleRequest {
        name: name(),
        version: String::new(),
    };
    let answers = [
        admin.get_smart_module(get).await.map(drop),
        admin.delete_smart_module(delete).await.map(drop),
        admin.rollback_smart_module(rollback).await.map(drop),
    ];

    for answer in answers {
        let status = answer.unwrap_err();
        assert_eq!(error_code(&status), ErrorCode::NotFound);
        assert!(status.message().contains("smartmodule list"), "{status}");
    }
}

#[tokio::test]
async fn names_of_the_clusters_own_topics_are_not_for_clients() {
    let sc = TestSc::start().await;
    let _spu = FakeSpu::new(&sc, 0).await;
    let name = || "__smartmodules".to_owned();
    let mut admin = sc.admin();

    let delete = DeleteTopicRequest { name: name() };
    let update = UpdateTopicRequest {
        name: name(),
        ..UpdateTopicRequest::default()
    };
    let answers = [
        admin.create_topic(create(&name(), 1, 1)).await.map(drop),
        admin.delete_topic(delete).await.map(drop),
        admin.update_topic(update).await.map(drop),
    ];

    for answer in answers {
        let status = answer.unwrap_err();
        assert_eq!(error_code(&status), ErrorCode::InvalidRequest);
        assert!(status.message().contains("the cluster's own"), "{status}");
    }
}

#[tokio::test]
async fn each_reign_names_another_writer_of_internal_topics() {
    let mut sc = TestSc::start().await;
    let first = FakeSpu::new(&sc, 0).await.registered.internal_client_id;
    sc.restart().await;
    let second = FakeSpu::new(&sc, 0).await.registered.internal_client_id;

    assert!(first.starts_with("__sc-"), "{first}");
    assert_ne!(first, second);
}

//! From paths, as arguments and settings have them, to places: on this machine, or in object storage.

use std::path::PathBuf;

use logferry_config::{BackupSource, ObjectCredentials, ObjectStorage};
use logferry_mssql_backup::{Place, Result};
use logferry_object_storage::{Addressing, Credentials, Environment, Keys, Role, Settings, Store};

/// The places of some paths; all objects among them are of one store.
pub(crate) fn places(paths: &[PathBuf], store: &Store) -> Result<Vec<Place>> {
    paths.iter().map(|path| Place::of(path, store)).collect()
}

/// The places of arguments: how objects are reached is asked of the environment.
pub(crate) fn of_arguments(paths: &[PathBuf]) -> Result<Vec<Place>> {
    places(paths, &store(&ObjectStorage::default()))
}

/// The files and the log files of a task.
#[derive(Clone, Debug)]
pub(crate) struct TaskFiles {
    pub files: Vec<Place>,
    pub log: Vec<Place>,
}

impl TaskFiles {
    pub(crate) fn of(paths: &BackupSource) -> Result<Self> {
        let store = store(&paths.object_storage);
        Ok(TaskFiles { files: places(&paths.files, &store)?, log: places(&paths.log, &store)? })
    }
}

/// The store of a task. Nothing is asked of it before it is needed.
fn store(settings: &ObjectStorage) -> Store {
    let credentials = match &settings.credentials {
        ObjectCredentials::Auto => Credentials::Auto,
        ObjectCredentials::Profile(name) => Credentials::Profile(name.clone()),
        ObjectCredentials::Instance => Credentials::Instance,
        ObjectCredentials::Anonymous => Credentials::Anonymous,
        ObjectCredentials::Keys { id, secret, token } => Credentials::Keys(Keys {
            id: id.clone(),
            secret: secret.expose().to_owned(),
            token: token.as_ref().map(|token| token.expose().to_owned()),
        }),
    };
    let addressing = settings.virtual_hosted.map(|yes| if yes { Addressing::Virtual } else { Addressing::Path });
    let role = settings.role.as_ref().map(|role| Role {
        arn: role.arn.clone(),
        external_id: role.external_id.clone(),
        session: role.session.clone(),
    });
    let settings = Settings {
        endpoint: settings.endpoint.clone(),
        region: settings.region.clone(),
        addressing,
        credentials,
        role,
        sts_endpoint: settings.sts_endpoint.clone(),
        authority: settings.authority.clone(),
        proxy: settings.proxy.clone(),
        memory: (settings.memory_mb as usize) << 20,
        ..Settings::default()
    };
    Store::new(settings, Environment::of_process())
}

//! A registry on a loopback address, for base images.

use std::fs;
use std::net::{TcpListener, TcpStream};

use super::process::{Service, WorkFolder, mortal};
use crate::run::at;

/// A started registry; it speaks plain HTTP.
pub(super) struct Registry {
    address: String,
    _service: Service,
}

impl Registry {
    pub(super) fn start(work: &WorkFolder) -> Result<Registry, String> {
        let folder = work.join("registry");
        fs::create_dir_all(&folder).map_err(|error| at(&folder, &error))?;
        let address = free_address()?;
        let settings = folder.join("settings.yaml");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}/images}}}}\nhttp: {{addr: {address:?}}}\n",
            folder.display()
        );
        fs::write(&settings, text).map_err(|error| at(&settings, &error))?;
        let mut command = mortal("docker-registry");
        command.arg("serve").arg(&settings);
        let is_ready = || TcpStream::connect(&address).is_ok();
        let service = Service::start("docker-registry", command, &folder.join("log"), is_ready)
            .map_err(|error| format!("{error} (`cargo xtask setup` installs it)"))?;
        Ok(Registry {
            address: address.clone(),
            _service: service,
        })
    }

    /// The name of an image in this registry.
    pub(super) fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }
}

fn free_address() -> Result<String, String> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener
        .map(|address| address.to_string())
        .map_err(|error| format!("no free port: {error}"))
}

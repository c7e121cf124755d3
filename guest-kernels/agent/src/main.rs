//! The guest agent: PID 1 of every guest kernel, A, B and C alike. It does what the host asks over the second serial port, and
//! nothing of its own accord.

mod boot;
mod devices;
mod disks;
mod dmesg;
mod failure;
mod files;
mod filler;
mod identity;
mod image;
mod ioctl;
mod kexec;
mod machine;
mod mapping;
mod mutant;
mod port;
mod power;
mod run;
mod serve;
mod sleep;
mod swap_file;
mod swap_syscalls;
mod text;
mod workloads;

use agent_protocol::message::Failure;

use crate::boot::Arguments;
use crate::machine::Machine;
use crate::port::Port;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|word| word == "workload") {
        workloads::run_child(&arguments[2..]);
    }
    if std::process::id() != 1 {
        eprintln!("this is the init process of a kjvm guest; it does nothing elsewhere");
        std::process::exit(2);
    }
    // PID 1 must not return: the kernel panics then, which is what the host should see of an agent that cannot serve.
    if let Err(failure) = serve_host() {
        println!("kjvm agent: {failure}");
    }
    std::process::exit(1);
}

fn serve_host() -> Result<(), Failure> {
    boot::mount_file_systems()?;
    let arguments = Arguments::parse(&text::read("/proc/cmdline")?)?;
    let modules = boot::load_modules()?;
    let mut port = Port::open(&arguments.port)?;
    println!("kjvm agent: kernel {} serves {}", arguments.session, arguments.port);
    mutant::announce();
    serve::serve(&mut port, arguments.session, &mut Machine::new(arguments.session.role, modules))
}

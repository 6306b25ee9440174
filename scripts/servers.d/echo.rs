// A line echo server with a thread for each connection: echo PORT. The line goes to one of four workers through a
// channel and comes back through another; a Mutex with a Condvar, a RwLock, thread_local and park are on the way.
use std::cell::Cell;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{channel, Sender};
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::thread;

struct Job {
    line: String,
    reply: Sender<String>,
}

struct Queue {
    jobs: Mutex<Vec<Job>>,
    filled: Condvar,
    served: RwLock<HashMap<u64, u64>>,
    total: AtomicU64,
}

thread_local! {
    static LINES: Cell<u64> = Cell::new(0);
}

fn work(queue: Arc<Queue>, number: u64) {
    loop {
        let job = {
            let mut jobs = queue.jobs.lock().unwrap();
            while jobs.is_empty() {
                jobs = queue.filled.wait(jobs).unwrap();
            }
            jobs.pop().unwrap()
        };
        if queue.total.fetch_add(1, Ordering::Relaxed) % 1024 == 0 {
            *queue.served.write().unwrap().entry(number).or_insert(0) += 1024;
        }
        let _ = job.reply.send(job.line);
    }
}

fn serve(stream: TcpStream, queue: Arc<Queue>) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let (reply, answers) = channel();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mine = LINES.with(|lines| {
            lines.set(lines.get() + 1);
            lines.get()
        });
        if mine % 256 == 0 {
            let parent = thread::current();
            let child = thread::spawn(move || parent.unpark());
            thread::park();
            child.join().unwrap();
            let _ = queue.served.read().unwrap().len();
        }
        queue.jobs.lock().unwrap().push(Job { line, reply: reply.clone() });
        queue.filled.notify_one();
        writer.write_all(answers.recv().unwrap().as_bytes())?;
    }
}

fn main() {
    let port = std::env::args().nth(1).unwrap();
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    let queue = Arc::new(Queue {
        jobs: Mutex::new(Vec::new()),
        filled: Condvar::new(),
        served: RwLock::new(HashMap::new()),
        total: AtomicU64::new(0),
    });
    for number in 0..4 {
        let queue = queue.clone();
        thread::spawn(move || work(queue, number));
    }
    for stream in listener.incoming() {
        let (stream, queue) = (stream.unwrap(), queue.clone());
        stream.set_nodelay(true).unwrap();
        thread::Builder::new().spawn(move || serve(stream, queue)).unwrap();
    }
}

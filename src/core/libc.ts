import koffi from 'koffi';

interface Call {
  (...args: readonly unknown[]): number;
  /** On a thread of libuv's pool; the last argument is called with an error or the result. */
  async(...args: readonly unknown[]): void;
}

function bind() {
  const libc = koffi.load(null);
  const func = (declaration: string) => libc.func(declaration) as unknown as Call;
  return {
    getsockopt: func('int getsockopt(int fd, int level, int name, void *value, void *length)'),
    syscall: func('long syscall(long number, long a, long b)'),
    openat2: func(
      'long syscall(long number, int folder, const char *path, void *how, unsigned long bytes)',
    ),
    poll: func('int poll(void *fds, unsigned long count, int timeout)'),
    epollCreate: func('int epoll_create1(int flags)'),
    epollCtl: func('int epoll_ctl(int epfd, int op, int fd, void *event)'),
    epollWait: func('int epoll_wait(int epfd, void *events, int max, int timeout)'),
    eventfd: func('int eventfd(unsigned int start, int flags)'),
    prctl: func(
      'int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)',
    ),
    flock: func('int flock(int fd, int operation)'),
    statx: func('int statx(int folder, const char *path, int flags, uint32_t mask, void *into)'),
  };
}

let bound: ReturnType<typeof bind> | undefined;

/** The C library's functions that Node does not offer; loaded when the first of them is needed. */
export const libc = () => (bound ??= bind());

/** Why the last call failed; to be asked before anything else is called. */
export const errno = (): number => koffi.errno();

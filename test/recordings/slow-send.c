// A sending thread that is too slow, whatever else the host does: each sendmsg() takes up to SEND_DELAY_US longer.
// For LD_PRELOAD; QEMU's migration threads send by sendmsg() (io/channel-socket.c), its monitor is not slowed noticeably.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

ssize_t sendmsg(int socket, const struct msghdr *message, int flags) {
    static ssize_t (*real)(int, const struct msghdr *, int);
    static long most;
    if (!real) {
        most = atol(getenv("SEND_DELAY_US"));
        real = dlsym(RTLD_NEXT, "sendmsg");
    }
    usleep(random() % most);
    return real(socket, message, flags);
}

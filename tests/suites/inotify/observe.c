/* Prints what inotify tells of the paths that are its arguments, one event a line. What only reads causes is left out:
 * the kubelet looks at its volumes when it likes.
 *
 * Someone who replaces the files of a volume removes the old directory in the end. Then, as a reloader does, all paths are
 * watched anew, and the line "watching" says so. */
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define MOST_PATHS 8
#define MASK (IN_ALL_EVENTS & ~(IN_ACCESS | IN_OPEN | IN_CLOSE_NOWRITE))

static const struct { unsigned mask; const char *name; } NAMES[] = {
  {IN_MODIFY, "modify"}, {IN_ATTRIB, "attrib"}, {IN_CLOSE_WRITE, "close-write"}, {IN_MOVED_FROM, "moved-from"},
  {IN_MOVED_TO, "moved-to"}, {IN_CREATE, "create"}, {IN_DELETE, "delete"}, {IN_DELETE_SELF, "delete-self"},
  {IN_MOVE_SELF, "move-self"}, {IN_IGNORED, "ignored"}, {IN_ISDIR, "directory"}, {IN_Q_OVERFLOW, "overflow"},
};

static int watch(int queue, char **paths, int count, int *watches) {
  for (int i = 0; i < count; i++) {
    watches[i] = inotify_add_watch(queue, paths[i], MASK);
    if (watches[i] < 0) { perror(paths[i]); return 1; }
  }
  printf("watching\n");
  return 0;
}

static void print(const struct inotify_event *event, char **paths, int count, const int *watches) {
  const char *path = "?";
  for (int i = 0; i < count; i++) if (watches[i] == event->wd) path = paths[i];
  printf("%s:", path);
  for (unsigned i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
    if (event->mask & NAMES[i].mask) printf(" %s", NAMES[i].name);
  printf(" %s\n", event->len ? event->name : "-");
}

static int ends(const struct inotify_event *event) {
  return event->len && (event->mask & IN_DELETE) && (event->mask & IN_ISDIR) && !strncmp(event->name, "..2", 3);
}

int main(int argc, char **argv) {
  char buffer[65536] __attribute__((aligned(__alignof__(struct inotify_event))));
  int queue = inotify_init(), count = argc - 1, watches[MOST_PATHS];
  setvbuf(stdout, 0, _IOLBF, 0);
  if (count > MOST_PATHS || watch(queue, argv + 1, count, watches)) return 1;
  for (;;) {
    long length = read(queue, buffer, sizeof buffer);
    int is_over = 0;
    if (length <= 0) { perror("read"); return 1; }
    for (char *at = buffer; at < buffer + length;) {
      const struct inotify_event *event = (const struct inotify_event *)at;
      print(event, argv + 1, count, watches);
      is_over |= ends(event);
      at += sizeof *event + event->len;
    }
    if (is_over && watch(queue, argv + 1, count, watches)) return 1;
  }
}

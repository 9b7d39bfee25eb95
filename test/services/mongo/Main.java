import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.QueryResult;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import java.util.List;
import org.h2.mvstore.MVStore;

/**
 * A MongoDB-compatible server for tests: {@code Main FILE PORT}. What it has answered is in FILE, also after kill -9.
 * Prints {@code ready} once it listens.
 */
public final class Main {
  /** The server is a 3.6 at heart and says so, which current drivers refuse; the commands in use are the same. */
  private static final class Version implements MongoVersion {
    @Override
    public List<Integer> getVersionArray() {
      return List.of(5, 0, 0, 0);
    }

    @Override
    public int getWireVersion() {
      return 13;
    }
  }

  /** Writes to disk before it answers; by itself the backend does so once a second, and loses that much when killed. */
  private static final class DurableBackend extends H2Backend {
    DurableBackend(MVStore store) {
      super(store);
    }

    @Override
    public Document handleMessage(MongoMessage message) {
      try {
        return super.handleMessage(message);
      } finally {
        commit();
      }
    }
  }

  public static void main(String[] arguments) throws Exception {
    MVStore store = new MVStore.Builder().fileName(arguments[0]).autoCommitBufferSize(16_384).open();
    DurableBackend backend = new DurableBackend(store);
    backend.version(new Version());
    MongoServer server = new MongoServer(backend);
    server.bind("127.0.0.1", Integer.parseInt(arguments[1]));
    System.out.println("ready");
  }
}

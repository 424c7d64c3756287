package abide.servers;

import org.eclipse.hawkbit.autoconfigure.security.EnableHawkbitManagedSecurityConfiguration;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;

/** The server; all of it is hawkBit's own. */
@SpringBootApplication
@EnableHawkbitManagedSecurityConfiguration
public class Start {
    public static void main(String[] args) {
        SpringApplication.run(Start.class, args);
    }
}

// Where the server is, and the application whose chat it is: `tandem app create NAME --org ORG --scope chat` prints its id.
export const SERVER = "http://127.0.0.1:8080";
export const APP = "app_...";
// What chats from here are about (document 002).
export const PRODUCT = "EXTENSION";
